-- The algorithm of ledger.py on the server: a bucket is the instant at which it will be full again.
--
-- A key holds one bucket; no key, a full bucket. Instants are microseconds of the server's clock and a
-- remainder: `scale` remainders are a microsecond, `unit` of them are a token. All are integers below
-- 2^53, which a number here holds exactly. A value is, without the spaces,
--
--   1030 02 0000000123456                 a number, which a server keeps in the least room: of a limit per
--                                         1 second (2 minute, 3 hour, 4 day), 10^0 times 3.0 tokens; full
--                                         2 parts (of 3, for a token takes thirds of a microsecond) after
--                                         the microsecond that ends in these digits and is next to come
--   50333 222 00000123456                 the same for three digits, 3.33, per 5 second (6, 7, 8 as above)
--   1790000000123456 +sub :scale:unit     whatever that cannot tell: full at a remainder after an instant
--   ... =due:floor:floor_sub:last ;holes  and callers wait
--
-- The digits of a number come again, after 115 days if there are 13, and 27 hours if 11. A key is gone a
-- second after its bucket is full, so that they are never old; and what is full later than in a tenth of
-- that time is no number, so that a clock may step back by eight tenths.
--
-- Who waits has been told how long, and asks no more. So that nobody who comes later passes the line,
-- it keeps `due`, when its last caller leaves. So that tokens given back are not spent while those who
-- wait keep their times, it keeps `floor`, before which the bucket cannot be full. And so that the
-- tokens of callers who left are there again, it keeps which: `last` is its last caller's number, and a
-- hole ;from-to:due:floor:floor_sub a run of callers who left, with what stood before the run.
--
-- KEYS       buckets
-- ARGV[1]    take, level, correct, cancel or pause
-- ARGV[2]    doubles: for take the longest wait, or -1 to ask only, for pause how long, in microseconds;
--            then for each key: cost, cost_sub, span, span_sub, scale, part of its numbers, unit
--            (correct: a negative cost is given back)
-- ARGV[3..]  for each key the `1030` of its limit, or `-`, and its `:scale:unit`
--            to cancel, then a ticket for each key
--
-- Replies    take: microseconds to wait, or an array of them and tickets if places in line were taken
--            level: for each key how long until it is full, and the remainder
--            or an error, and nothing has changed

local call, doubles, format = redis.call, struct.unpack, string.format
local cut, match = string.sub, string.match
local LAST_INSTANT = 9007199254740991
local MARGIN = 1000 -- milliseconds that a key outlives its bucket's being full
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local operation = ARGV[1]

-- What nearly every call is: one bucket, nobody waiting, taken or refused at once. What follows below
-- comes to the same, and takes three times as long.
if operation == 'take' and #KEYS == 1 then
    local limit, cost, cost_sub, span, span_sub, scale, part = doubles('<ddddddd', ARGV[2])
    local raw, code, terms = call('GET', KEYS[1]), ARGV[3], ARGV[4]
    local full, sub, turn = now, 0, #code == 4 and 1e13 or 1e11
    if raw and #raw == 19 and code ~= '-' and cut(raw, 1, #code) == code then
        local digits = match(raw, '^%d+$', #code + 1)
        full = digits and now + (digits - now) % turn
        if full and full >= now + turn * 0.9 then
            full = now
        elseif full and digits - turn >= 0 then
            sub = (digits - digits % turn) / turn * part
        end
    elseif raw then
        local rest, tail = match(raw, '^%+(%d+)(.*)$', 17)
        full, sub = tail == terms and tonumber(cut(raw, 1, 16)), tonumber(rest)
        -- What this script would not write is left to the rest, which looks closer.
        if full and full < 1e15 then full = nil end
        if full and full < now then full, sub = now, 0 end
    end
    if full and full <= LAST_INSTANT and sub < scale then
        full, sub = full + cost, sub - (scale - cost_sub)
        if sub >= 0 then full = full + 1 else sub = sub + scale end
        local wait = full - now - span
        if sub > span_sub then wait = wait + 1 end
        if wait > limit and wait > 0 then return wait end
        if wait <= 0 and limit >= 0 then
            -- Numbers of more than 32 bits are slow to format, so it is done in halves.
            local left, value = full - now, nil
            if code ~= '-' and left < turn * 0.1 then
                local low, parts = full % 1e7, sub / part
                if parts % 1 == 0 then
                    local high = parts * (turn / 1e7) + (full % turn - low) / 1e7
                    value = format(turn == 1e13 and '%s%08d%07d' or '%s%07d%07d', code, high, low)
                end
            end
            if not value then
                local low, small = full % 1e8, sub < 2147483648
                value = small and '%08d%08d+%d%s' or '%08d%08d+%.0f%s'
                value = format(value, (full - low) / 1e8, low, sub, terms)
            end
            left = left / 1000 + MARGIN
            left = left < 2147483648 and format('%d', left) or math.floor(left)
            call('SET', KEYS[1], value, 'PX', left)
            return 0
        end
    end
end

local find = string.find
local PERIODS = { 1, 60, 3600, 86400, 10, 600, 36000, 864000 } -- seconds, and tens of them
local NUMBER, LONGER = '^([1-4])(%d)([1-9]%d)(%d+)$', '^([5-8])(%d)([1-9]%d%d)(%d+)$'
local INSTANT = '^' .. string.rep('%d', 16)
local MOST_HOLES = 65536 -- bytes of them; beyond, the oldest are forgotten, and their tokens lost

local function plus(b, us, sub, more, more_sub)
    sub = sub - (b.scale - more_sub)
    if sub >= 0 then return us + more + 1, sub end
    return us + more, sub + b.scale
end

local function minus(b, us, sub, less, less_sub)
    sub = sub - less_sub
    if sub < 0 then return us - less - 1, sub + b.scale end
    return us - less, sub
end

local function later(us, sub, other, other_sub)
    if us > other or us == other and sub > other_sub then return us, sub end
    return other, other_sub
end

-- Say in the terms of `b` when a bucket of other terms is full: the tokens that it lacks are kept.
local function restated(b, us, sub, scale, unit)
    if scale == b.scale and unit == b.unit then return us, sub end
    local ratio, finer = (b.unit / b.scale) / (unit / scale), b.scale / scale
    local rest = sub / scale
    if math.abs(ratio - 1) > 1e-15 then
        local lacks = math.max(us - now + rest, 0) * ratio
        us, rest = now + math.floor(lacks), lacks - math.floor(lacks)
    elseif finer % 1 == 0 then
        return us, sub * finer
    end
    sub = math.ceil(rest * b.scale)
    if sub >= b.scale then return us + 1, 0 end
    return us, sub
end

-- Return what a pattern captures, as numbers, or nil if one is none that this script would write.
local function numbers(text, pattern)
    local found = { match(text, pattern) }
    for i, digits in ipairs(found) do
        found[i] = digits + 0
        if found[i] > LAST_INSTANT then return nil end
    end
    return found[1] and found
end

-- Read a number into `b`; return whether it is one.
local function read_number(b, raw)
    local period, exponent, count, digits = match(raw, NUMBER)
    if not period then period, exponent, count, digits = match(raw, LONGER) end
    if not period or #raw ~= 19 then return false end
    local unit, scale = PERIODS[period + 0] * 1e7, count * 10 ^ exponent
    local common, rest = unit, scale
    while rest > 0 do common, rest = rest, common % rest end
    unit, scale = unit / common, scale / common
    local turn = #count == 2 and 1e13 or 1e11
    local sub, ahead = math.floor(digits / turn), (digits - now) % turn
    if sub >= scale then return false end
    if ahead < turn * 0.9 then b.full, b.sub = restated(b, now + ahead, sub, scale, unit) end
    return true
end

-- Read into `b` what is known of those who wait; return whether it can be.
local function read_line(b, line, scale, unit)
    local place, holes = numbers(line, '^=(%d+):(%d+):(%d+):(%d+)'), match(line, '^=[%d:]+(.*)$')
    if not place or place[3] >= scale or not find(holes, '^[;:%-%d]*$') then return false end
    b.due, b.last, b.holes = place[1], place[4], holes
    b.floor, b.floor_sub = restated(b, place[2], place[3], scale, unit)
    return true
end

-- Read a value into `b`; return whether it is one.
local function read(b, raw)
    if find(raw, '^%d+$') then return read_number(b, raw) end
    local full, rest = numbers(raw, INSTANT), cut(raw, 17)
    local terms, line = match(rest, '^([^=]*)(.*)$')
    local long = numbers(terms, '^%+(%d+):(%d+):(%d+)$')
    if not full or not long or long[1] >= long[2] or long[3] == 0 then return false end
    b.full, b.sub = restated(b, full[1], unpack(long))
    return line == '' or read_line(b, line, long[2], long[3])
end

-- When a bucket is full, given that those who wait leave at their times.
local function full_of(b)
    return later(b.full, b.sub, b.floor, b.floor_sub)
end

-- Forget a line that nobody stands in any more.
local function close(b)
    if b.due > now then return end
    b.full, b.sub = full_of(b)
    b.due, b.floor, b.floor_sub, b.last, b.holes = 0, 0, 0, 0, ''
end

local function load(i, key, at)
    local b = { full = now, sub = 0, due = 0, floor = 0, floor_sub = 0, last = 0, holes = '' }
    b.code, b.terms = ARGV[2 * i + 1], ARGV[2 * i + 2]
    b.cost, b.cost_sub, b.span, b.span_sub, b.scale, b.part, b.unit, at = doubles('<ddddddd', ARGV[2], at)
    local raw = call('GET', key)
    if raw and not read(b, raw) then return nil end
    b.kept = raw and true
    b.full, b.sub = later(b.full, b.sub, now, 0)
    close(b)
    return b, at
end

local function value_of(b)
    local turn, parts = #b.code == 4 and 1e13 or 1e11, b.sub / b.part
    if b.due == 0 and b.code ~= '-' and b.full - now < turn * 0.1 and parts % 1 == 0 then
        return format(turn == 1e13 and '%s%015.0f' or '%s%014.0f', b.code, parts * turn + b.full % turn)
    end
    local value = format('%016.0f+%.0f', b.full, b.sub) .. b.terms
    if b.due == 0 then return value end
    return value .. format('=%.0f:%.0f:%.0f:%.0f', b.due, b.floor, b.floor_sub, b.last) .. b.holes
end

local function save(buckets)
    for _, b in ipairs(buckets) do
        close(b)
        if math.max(b.full, b.floor) > LAST_INSTANT then
            return redis.error_reply('OVERFLOW the bucket would be empty for too long')
        end
    end
    for i, b in ipairs(buckets) do
        local left = math.max(full_of(b), b.due) - now
        if b.kept or left > 0 or b.sub > 0 then
            call('SET', KEYS[i], value_of(b), 'PX', math.ceil(left / 1000) + MARGIN)
        end
    end
end

-- Take a place in line; return the ticket that gives it back.
local function join(b, due)
    local natural, natural_sub = due, 0
    if b.natural == due then natural, natural_sub = b.exact, b.exact_sub end
    local share, share_sub = b.cost, b.cost_sub
    if share > b.span or share == b.span and share_sub > b.span_sub then
        share, share_sub = b.span, b.span_sub
    end
    local floor, floor_sub = plus(b, natural, natural_sub, share, share_sub)
    local ticket = format('%.0f:%.0f:%.0f:%.0f:%.0f', b.last + 1, due, b.due, b.floor, b.floor_sub)
    local line, line_sub = plus(b, b.floor, b.floor_sub, b.cost, b.cost_sub)
    b.floor, b.floor_sub = later(line, line_sub, floor, floor_sub)
    b.full, b.sub = plus(b, b.full, b.sub, b.cost, b.cost_sub)
    b.due, b.last = due, b.last + 1
    return ticket
end

local function take(buckets, limit)
    local due = now
    for _, b in ipairs(buckets) do
        local us, sub = full_of(b)
        us, sub = plus(b, us, sub, b.cost, b.cost_sub)
        b.exact, b.exact_sub = minus(b, us, sub, b.span, b.span_sub)
        b.natural = b.exact + (b.exact_sub > 0 and 1 or 0)
        due = math.max(due, b.due, b.natural)
    end
    local reply = { due - now }
    if limit < 0 or reply[1] > limit and due > now then return reply[1] end
    for i, b in ipairs(buckets) do
        if due > now then
            reply[i + 1] = join(b, due)
        else
            b.full, b.sub = full_of(b)
            b.full, b.sub = plus(b, b.full, b.sub, b.cost, b.cost_sub)
        end
    end
    return save(buckets) or (due > now and reply or 0)
end

local function charge(b, cost, cost_sub)
    b.full, b.sub = plus(b, b.full, b.sub, cost, cost_sub)
end

local function give_back(b, cost, cost_sub)
    b.full, b.sub = minus(b, b.full, b.sub, cost, cost_sub)
    b.full, b.sub = later(b.full, b.sub, now, 0)
end

local function correct(b)
    if b.cost < 0 or b.cost_sub < 0 then return give_back(b, -b.cost, -b.cost_sub) end
    charge(b, b.cost, b.cost_sub)
end

-- Round up a remainder that was noted under other terms.
local function whole(b, us, sub)
    if sub >= b.scale then return us + 1, 0 end
    return us, sub
end

-- Take a run of holes out of the list; return where it began, or ended, and what stood before it.
local function extract(b, pattern)
    local begins, ends, bound, due, floor, floor_sub = find(b.holes, pattern)
    if begins then b.holes = cut(b.holes, 1, begins - 1) .. cut(b.holes, ends + 1) end
    return bound, due, floor, floor_sub
end

-- Note that a caller has left the line; if it was the last one, the line ends before it.
local function leave(b, number, due, floor, floor_sub)
    local from, to = number, number
    local before = { extract(b, format(';(%%d+)%%-%.0f:(%%d+):(%%d+):(%%d+)', number - 1)) }
    if before[1] then from, due, floor, floor_sub = unpack(before) end
    to = extract(b, format(';%.0f%%-(%%d+):%%d+:%%d+:%%d+', number + 1)) or to
    if to + 0 == b.last then
        b.last, b.due, b.floor, b.floor_sub = from - 1, due + 0, whole(b, floor + 0, floor_sub + 0)
        return
    end
    b.holes = b.holes .. format(';%.0f-%.0f:%.0f:%.0f:%.0f', from, to, due, floor, floor_sub)
    if #b.holes > MOST_HOLES then b.holes = cut(b.holes, (find(b.holes, ';', MOST_HOLES / 4))) end
end

local function cancel(b, ticket)
    local place = numbers(ticket, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
    local number, due = place[1], place[2]
    if due > now and due <= b.due and number <= b.last then leave(b, number, unpack(place, 3)) end
    give_back(b, b.cost, b.cost_sub)
end

local function pause(b, length)
    local us, sub = plus(b, now + length, 0, b.span, b.span_sub)
    b.full, b.sub = later(b.full, b.sub, us, sub)
end

-- How long until it is full; who waits has all that is there.
local function level(b)
    local us, sub = b.full - now, b.sub
    if b.due > now then us, sub = later(us, sub, b.span, b.span_sub) end
    return us, sub
end

local limit, at = doubles('<d', ARGV[2])
local buckets, levels = {}, {}
for i, key in ipairs(KEYS) do
    buckets[i], at = load(i, key, at)
    if not buckets[i] then return redis.error_reply('CORRUPT the value is not that of a bucket') end
end
if operation == 'take' then return take(buckets, limit) end
for i, b in ipairs(buckets) do
    if operation == 'correct' then correct(b) end
    if operation == 'cancel' then cancel(b, ARGV[2 + 2 * #KEYS + i]) end
    if operation == 'pause' then pause(b, limit) end
    levels[2 * i - 1], levels[2 * i] = level(b)
end
return operation ~= 'level' and save(buckets) or levels
