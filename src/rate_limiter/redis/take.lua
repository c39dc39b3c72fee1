-- What shared/algorithm.py, acts.py, renewing.py and line.py there say, on the server, over the same
-- values (shared/state.py), in one step.
--
-- A number here is a double, exact for integers below 2^53. So instants and costs are pairs: whole
-- microseconds, and a remainder in units, `scale` of which are a microsecond.
--
-- KEYS       buckets
-- ARGV[1]    take, claim (take a place that nobody renews), ask (how long a take would wait), lease,
--            renew, cancel, correct, pause, resume, reset or level
-- ARGV[2]    the longest wait, or how long a pause is, in microseconds
-- for each   the text of the limit, as values end in it; what a full bucket holds, and its
-- key        remainder; the scale; the cost, and its remainder (to give back, whole microseconds
--            below zero)
-- then, or   the number of a place, when it leaves (lease: how much more to take, and its remainder);
-- nothing    and the microsecond that it is, instead of the server's time: then keys live for a day
--            more, for the server's clock is not this one
--
--            or, for one key and without remainders and a place: the text, what a full bucket holds,
--            the cost; and the microsecond, or nothing
--
-- Replies    {wait, slowest (the position of the bucket that holds up longest, from 0), the number of
--            the place, when it leaves (lease: how much more was taken, and its remainder), then for
--            each key what it lacks to be full, the remainder, how long a pause lasts, and how many
--            wait in line};
--            or, of one key with neither pause nor line, if it has been taken from, what it lacks,
--            or {that, the remainder}; if it was refused, the same with -1 - that;
--            or an error, and nothing has changed

local call, format, find, match = redis.call, string.format, string.find, string.match
local keys, argv = KEYS, ARGV
local operation, short, now, margin = argv[1], #argv < 7, nil, 1001
if short then now = argv[6] else now = argv[6 * #keys + 5] end
if now then
    now, margin = now + 0.0, margin + 86400000
else
    local time = call('TIME')
    now = time[1] * 1000000 + time[2]
end
local LAST = 9007199254740991

-- fast path begins
-- What nearly every call is: one bucket, nobody waiting, no pause, the limit as it was. What follows
-- below comes to the same, and takes several times as long.
if (operation == 'take' or operation == 'lease') and #keys == 1 then
    local key, terms, span, cost = keys[1], argv[3], argv[4], argv[5]
    local span_sub, cost_sub, scale, full, sub = 0, 0, nil, now, 0
    if not short then
        span_sub, scale, cost, cost_sub = argv[5] + 0, argv[6] + 0, argv[7], argv[8] + 0
    end
    local raw = call('GET', key)
    if raw then
        -- What this script would not write is left to the rest, which looks closer.
        local at, digits, word = find(raw, terms, 17, true), nil, nil
        if at and at + #terms ~= #raw + 1 then at = nil end
        if at == 17 then
            digits = match(raw, '^(%d+):')
        elseif at then
            digits, word = match(raw, '^(%d+)%+([1-9]%d*):')
            scale = scale or match(terms, '%w+') + 0
            sub = word and #word == at - 18 and word + 0
        end
        full = digits and #digits == 16 and digits + 0
        if word and (not sub or sub >= scale) or full and full > LAST then full = nil end
        if full and full < now then full, sub = now, 0 end
    end
    if full then
        local lacks, lacks_sub = full - now, sub
        local wait = lacks + cost - span
        full = full + cost
        if cost_sub > 0 then
            sub = sub - (scale - cost_sub)
            if sub >= 0 then full, wait = full + 1, wait + 1 else sub = sub + scale end
        end
        if sub > span_sub then wait = wait + 1 end
        local more, more_sub = 0, 0
        if operation == 'lease' and wait <= 0 then
            more, more_sub = now + span - full, span_sub - sub
            if more_sub < 0 then more, more_sub = more - 1, more_sub + scale end
            local wanted, wanted_sub = argv[9] + 0, argv[10] + 0
            if wanted < more or wanted == more and wanted_sub < more_sub then
                more, more_sub = wanted, wanted_sub
            end
            full, sub = full + more, sub - (scale - more_sub)
            if sub >= 0 then full = full + 1 else sub = sub + scale end
        end
        if wait <= 0 and full <= LAST then
            -- Numbers of more than 32 bits are slow to format, so it is done in halves.
            local low, value = full % 100000000, nil
            if sub == 0 then
                value = format('%08d%08d%s', (full - low) / 100000000, low, terms)
            else
                value = sub < 2147483648 and '%08d%08d+%d%s' or '%08d%08d+%.0f%s'
                value = format(value, (full - low) / 100000000, low, sub, terms)
            end
            lacks = full - now
            local life = (lacks - lacks % 1000) / 1000 + margin
            call('SET', key, value, 'PX', format(life < 2147483648 and '%d' or '%.0f', life))
            if operation == 'lease' then return { 0, 0, more, more_sub, lacks, sub, 0, 0 } end
            if sub == 0 then return lacks end
            return { lacks, sub }
        end
        if wait > 0 and wait > argv[2] + 0 and operation == 'take' then
            if lacks_sub == 0 then return -1 - lacks end
            return { -1 - lacks, lacks_sub }
        end
    end
end
-- fast path ends

local cut, floor, ceil, max = string.sub, math.floor, math.ceil, math.max
local FIRM, LIFE, ASKS = 10000000, 15000000, 9000000 -- see FIRM, LIFE, and _asks in line.py
local SETTLED, APART, RENEWING = 48, 16, 256 -- see the same names there
local PLACE = '^' .. string.rep('(%d+):', 8) .. '(%d+)$'

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

local function above(us, sub, other, other_sub)
    return us > other or us == other and sub > other_sub
end

local function later(us, sub, other, other_sub)
    if above(us, sub, other, other_sub) then return us, sub end
    return other, other_sub
end

local function digits(number)
    return format(number < 2147483648 and number > -2147483648 and '%d' or '%.0f', number)
end

-- When a cost can be paid: rounded up to a microsecond, and exactly.
local function due_of(b, base, base_sub, cost, cost_sub)
    local us, sub = minus(b, base, base_sub, b.span, b.span_sub)
    us, sub = plus(b, us, sub, cost, cost_sub)
    return sub > 0 and us + 1 or us, us, sub
end

-- When the bucket is full at the earliest, once a cost was paid at `due`.
local function floor_after(b, base, base_sub, cost, cost_sub, due)
    local earliest, us, sub = due_of(b, base, base_sub, cost, cost_sub)
    if earliest ~= due then us, sub = due, 0 end
    if above(cost, cost_sub, b.span, b.span_sub) then cost, cost_sub = b.span, b.span_sub end
    return plus(b, us, sub, cost, cost_sub)
end

-- The least that `full` may be: tokens add up beyond the capacity for a large head of the line.
local function least(b)
    local head = b.line[1]
    if not head or not above(head.cost, head.cost_sub, b.span, b.span_sub) then return now, 0 end
    local us, sub = plus(b, now, 0, b.span, b.span_sub)
    return minus(b, us, sub, head.cost, head.cost_sub)
end

-- At the end of a pause one token is there.
local function after_pause(b, us, sub, closed)
    local other, other_sub = plus(b, closed, 0, b.head, b.head_sub)
    return later(us, sub, other, other_sub)
end

local function end_pause(b, at)
    if b.closed and b.closed <= at then
        b.full, b.sub = after_pause(b, b.full, b.sub, b.closed)
        b.closed = nil
    end
end

-- Cut what has added up beyond the capacity for a head of the line, which has left it.
local function cut_surplus(b, at)
    b.full, b.sub = later(b.full, b.sub, at, 0)
end

-- Bring a bucket up to now: who was told to leave has left, who did not renew is gone.
local function advance(b)
    local staying = {}
    for _, place in ipairs(b.line) do
        if place.deadline > 0 and place.deadline > now or place.deadline == 0 and place.due > now then
            staying[#staying + 1] = place
        elseif place.deadline > 0 then
            if #staying == 0 then cut_surplus(b, place.deadline) end
        else
            end_pause(b, place.due)
            local us, sub = plus(b, b.full, b.sub, place.cost, place.cost_sub)
            b.full, b.sub = later(us, sub, place.floor, place.floor_sub)
        end
    end
    b.line = staying
    end_pause(b, now)
    b.full, b.sub = later(b.full, b.sub, least(b))
end

-- Reading a value

local function number(word)
    local value = word + 0.0 -- as a double also where a script has integers, which overflow
    return value <= LAST and value or nil
end

local function expanded(word)
    local rest = match(word, '^[1-9]%d*(.*)$')
    return rest and (rest == '' or find(rest, '^e%d%d?$')) and number(word)
end

local function fraction(word)
    local whole, rest = match(word, '^(%d+)(.*)$')
    local _, ends = find(rest or '', '^%.%d+')
    rest = whole and cut(rest, (ends or 0) + 1)
    return (rest == '' or rest and find(rest, '^e[+-]?%d%d?$')) and word + 0.0
end

-- Read the text of a limit into `b`; return whether it is one.
local function read_limit(b, text)
    local scale, unit, capacity = match(text, '^:([%de]+):([%de]*):([%de.+-]+)$')
    if unit == '' then unit = '63e9' end
    b.scale, b.unit = scale and expanded(scale), scale and expanded(unit)
    b.capacity = scale and fraction(capacity)
    if not b.scale or not b.unit or not b.capacity or b.capacity == 0 then return false end
    return b.capacity * b.unit <= LAST * b.scale
end

-- Note what a token is, and so what is there at the end of a pause.
local function note_token(b)
    local token_sub = b.unit % b.scale
    b.head, b.head_sub = minus(b, b.span, b.span_sub, (b.unit - token_sub) / b.scale, token_sub)
    if b.head < 0 then b.head, b.head_sub = 0, 0 end
end

-- Note what a full bucket holds under a limit that has been replaced.
local function note_span(b)
    local units = floor(b.capacity * b.unit)
    if units <= LAST then
        b.span_sub = units % b.scale
        b.span = (units - b.span_sub) / b.scale
    else
        local us = b.capacity * (b.unit / b.scale)
        b.span = floor(us)
        b.span_sub = floor((us - b.span) * b.scale)
    end
end

local function read_place(words, scale)
    local p = { match(words, PLACE) }
    for i = 1, 9 do
        p[i] = p[i] and number(p[i])
        if not p[i] then return nil end
    end
    if p[3] == 0 or p[5] >= scale or p[7] >= scale or p[9] > 0 and p[3] > 1 then return nil end
    return { text = ';' .. words, first = p[1], last = p[2], count = p[3], cost = p[4], cost_sub = p[5],
        floor = p[6], floor_sub = p[7], due = p[8], deadline = p[9] }
end

-- Read a value into `b`; return whether it is one.
local function read(b, raw)
    local full, rest = match(raw, '^(%-?%d+)(.*)$')
    if not full or #full ~= 16 and (#full ~= 17 or cut(full, 1, 1) ~= '-') then return false end
    local remainder, after = match(rest, '^%+([1-9]%d*)(.*)$')
    local limit, tail = match(after or rest, '^([^!;]*)(.*)$')
    local closed, line = match(tail, '^!(%d+)(.*)$')
    if limit ~= b.text then
        if not read_limit(b, limit) then return false end
        note_span(b)
        note_token(b)
    end
    b.full, b.sub, b.closed = number(full), number(remainder or 0), number(closed or 0)
    if not b.full or not b.sub or not b.closed or b.sub >= b.scale then return false end
    if b.closed == 0 then b.closed = nil end
    line = line or tail
    local read_to = 0
    for words in string.gmatch(line, ';([^;]*)') do
        local place = read_place(words, b.scale)
        if not place then return false end
        b.line[#b.line + 1] = place
        read_to = read_to + #words + 1
    end
    return read_to == #line
end

-- Whole microseconds and a remainder of microseconds and a fraction, rounded up or down.
local function pair(b, us, round)
    local whole = floor(us)
    local sub = round((us - whole) * b.scale)
    if sub >= b.scale then return whole + 1, 0 end
    return whole, sub
end

-- Go on with another limit: the tokens that are there stay, up to its capacity.
local function restate(b, kept)
    local lacking = above(kept.full, kept.sub, now, 0)
    local us, sub = kept.full - now, kept.sub
    local same = b.scale == kept.scale and b.unit == kept.unit
    local token, ratio = b.unit / b.scale, 1
    if same then
        us, sub = plus(b, us, sub, b.span, b.span_sub)
        us, sub = minus(b, us, sub, kept.span, kept.span_sub)
    else
        ratio = token / (kept.unit / kept.scale)
        local missing = (b.capacity - kept.capacity) * token + (us + sub / kept.scale) * ratio
        us, sub = pair(b, missing, ceil)
    end
    if not (lacking or kept.closed or #kept.line > 0) then us, sub = 0, 0 end
    b.full, b.sub, b.closed, b.line = now + us, sub, kept.closed, kept.line
    for _, place in ipairs(same and {} or b.line) do
        local beyond = (place.floor - place.due + place.floor_sub / kept.scale) * ratio
        us, sub = pair(b, beyond, ceil)
        place.floor, place.floor_sub = place.due + us, sub
        if place.deadline > 0 or place.floor < 0 then place.floor, place.floor_sub = 0, 0 end
        place.cost, place.cost_sub = pair(b, (place.cost + place.cost_sub / kept.scale) * ratio, floor)
        if place.cost == 0 and place.cost_sub == 0 then place.cost_sub = 1 end
        place.text = nil
    end
    b.full, b.sub = later(b.full, b.sub, least(b))
end

local function empty(text)
    return { text = text, full = now, sub = 0, line = {} }
end

local function load(i)
    local at = 6 * i - 3
    local b, raw = empty(argv[at]), call('GET', keys[i])
    read_limit(b, b.text)
    if short then
        b.span, b.span_sub, b.cost, b.cost_sub = argv[4] + 0.0, 0, argv[5] + 0.0, 0
    else
        b.span, b.span_sub = argv[at + 1] + 0.0, argv[at + 2] + 0.0
        b.cost, b.cost_sub = argv[at + 4] + 0.0, argv[at + 5] + 0.0
    end
    note_token(b)
    b.kept = raw and true
    if not raw then return b end
    local kept = empty(b.text)
    for name, value in pairs(b) do
        if name ~= 'line' then kept[name] = value end
    end
    if not read(kept, raw) then return nil end
    advance(kept)
    if kept.scale == b.scale and kept.unit == b.unit and kept.capacity == b.capacity then
        b.full, b.sub, b.closed, b.line = kept.full, kept.sub, kept.closed, kept.line
    else
        restate(b, kept)
    end
    return b
end

-- Where a caller would stand behind some of the line; see Tail there.

local function open(tail)
    if tail.closed then
        tail.base, tail.sub = after_pause(tail.b, tail.base, tail.sub, tail.closed)
        tail.closed = nil
    end
end

local function due_behind(tail, cost, cost_sub)
    local due = due_of(tail.b, tail.base, tail.sub, cost, cost_sub)
    return max(due, tail.left)
end

local function pass_by(tail, place)
    local b, due, us, sub = tail.b, place.due, place.floor, place.floor_sub
    if place.deadline > 0 or tail.closed and due >= tail.closed then open(tail) end
    if place.deadline > 0 then
        local asks = place.deadline - ASKS
        if asks <= now then asks = place.deadline end
        due = max(due_behind(tail, place.cost, place.cost_sub), due, asks)
        us, sub = floor_after(b, tail.base, tail.sub, place.cost, place.cost_sub, due)
    end
    local base, base_sub = plus(b, tail.base, tail.sub, place.cost, place.cost_sub)
    tail.base, tail.sub = later(base, base_sub, us, sub)
    tail.left = max(tail.left, due)
end

-- Return where a caller stands behind the first `count` of the line.
local function tail_of(b, count)
    local tail = { b = b, base = b.full, sub = b.sub, left = max(now, b.closed or 0), closed = b.closed }
    for i = 1, count do pass_by(tail, b.line[i]) end
    open(tail)
    return tail
end

-- Acts: each returns the wait, the position of who holds up, number and time of a place, and whether
-- anything changes.

local function place_of(b, number, due, firm, tail)
    local place = { first = number, last = number, count = 1, cost = b.cost, cost_sub = b.cost_sub,
        floor = 0, floor_sub = 0, due = #keys > 1 and due or 0, deadline = now + LIFE }
    if firm then
        place.due, place.deadline = due, 0
        place.floor, place.floor_sub = floor_after(b, tail.base, tail.sub, b.cost, b.cost_sub, due)
    end
    return place
end

local function renewing(b)
    local count = 0
    for _, place in ipairs(b.line) do
        if place.deadline > 0 then count = count + 1 end
    end
    return count
end

local function as_one(b, ahead, behind)
    local us, sub = plus(b, ahead.floor, ahead.floor_sub, behind.cost, behind.cost_sub)
    local one = { first = ahead.first, last = behind.last, count = ahead.count + behind.count, due = behind.due, deadline = 0 }
    one.floor, one.floor_sub = later(us, sub, behind.floor, behind.floor_sub)
    one.cost, one.cost_sub = plus(b, ahead.cost, ahead.cost_sub, behind.cost, behind.cost_sub)
    return one
end

-- Keep the oldest of many who have been told as one, so that a value stays short.
local function gather(b)
    local line, gathered = b.line, {}
    if #line <= SETTLED or #line - renewing(b) <= SETTLED then return end
    for i, place in ipairs(line) do
        local before = gathered[#gathered]
        if i <= #line - APART and before and before.deadline == 0 and place.deadline == 0
            and before.last < place.first then
            gathered[#gathered] = as_one(b, before, place)
        else
            gathered[#gathered + 1] = place
        end
    end
    b.line = gathered
end

local function latest(buckets, tails)
    local due, slowest = nil, 0
    for i, b in ipairs(buckets) do
        local own = due_behind(tails[i], b.cost, b.cost_sub)
        if not due or own > due then due, slowest = own, i - 1 end
    end
    return due, slowest
end

local function take(buckets, longest)
    local tails, number, firm = {}, max(now, 1), operation == 'claim'
    for i, b in ipairs(buckets) do tails[i] = tail_of(b, #b.line) end
    local due, slowest = latest(buckets, tails)
    local wait = due - now
    if longest < 0 or wait > 0 and wait > longest then return wait, slowest, 0, 0, false end
    if wait == 0 then
        for i, b in ipairs(buckets) do
            b.full, b.sub = plus(b, tails[i].base, tails[i].sub, b.cost, b.cost_sub)
        end
        return 0, slowest, 0, 0, true
    end
    firm = firm or wait <= FIRM
    for _, b in ipairs(buckets) do
        firm = firm or renewing(b) >= RENEWING
        for _, place in ipairs(b.line) do number = max(number, place.last + 1) end
    end
    for i, b in ipairs(buckets) do
        b.line[#b.line + 1] = place_of(b, number, due, firm, tails[i])
        gather(b)
    end
    return wait, slowest, number, firm and due or 0, true
end

-- Let those pass to whom a time was promised that would not be kept if this one left first, at `due`.
local function let_pass(seeker, due)
    local b, line, passed = seeker.b, seeker.b.line, 0
    local us, sub = floor_after(b, seeker.base, seeker.sub, b.cost, b.cost_sub, due)
    local base, base_sub = plus(b, seeker.base, seeker.sub, b.cost, b.cost_sub)
    for at = seeker.spot, #line do
        local place = line[at]
        if place.deadline == 0 then
            base, base_sub = later(base, base_sub, us, sub)
            local earliest = due_of(b, base, base_sub, place.cost, place.cost_sub)
            if place.due < due or place.due < earliest then passed = at end
            base, base_sub = plus(b, base, base_sub, place.cost, place.cost_sub)
            us, sub = place.floor, place.floor_sub
        end
    end
    if passed == 0 then return false end
    local behind, spot = {}, seeker.spot
    for at = spot, passed do
        if line[at].deadline > 0 then
            behind[#behind + 1] = line[at]
        else
            line[seeker.spot] = line[at]
            seeker.spot = seeker.spot + 1
            pass_by(seeker, line[at])
        end
    end
    for i, place in ipairs(behind) do line[seeker.spot + i - 1] = place end
    return true
end

-- Tell a caller when it leaves, if that is soon, or to ask again.
local function keep_place(buckets, spots, number, longest)
    local seekers, places = {}, {}
    for i, b in ipairs(buckets) do
        seekers[i] = tail_of(b, spots[i] - 1)
        seekers[i].spot = spots[i]
        places[i] = table.remove(b.line, spots[i])
    end
    local due, slowest = latest(buckets, seekers)
    local moved = places[1].deadline > 0
    if not moved then -- the reply was lost, but the place is as it was
        due = places[1].due
        if due - now > longest then return due - now, slowest, 0, 0, true end
        for i, b in ipairs(buckets) do table.insert(b.line, spots[i], places[i]) end
        return due - now, slowest, number, due, true
    end
    while moved do
        moved = false
        for _, seeker in ipairs(seekers) do moved = let_pass(seeker, due) or moved end
        if moved then due, slowest = latest(buckets, seekers) end
    end
    local wait = due - now
    if wait > longest then return wait, slowest, 0, 0, true end
    for i, b in ipairs(buckets) do
        local place = place_of(b, number, due, wait <= FIRM, seekers[i])
        table.insert(b.line, seekers[i].spot, place)
    end
    return wait, slowest, number, wait <= FIRM and due or 0, true
end

-- Charge, or give back what is below zero; beyond the capacity it is lost.
local function charge(b, cost, cost_sub)
    local us, sub = least(b)
    local full, full_sub = plus(b, b.full, b.sub, cost, cost_sub)
    if cost > 0 or cost == 0 and cost_sub > 0 then
        us, sub = later(b.full, b.sub, us, sub)
        b.full, b.sub = plus(b, us, sub, cost, cost_sub)
    else
        if above(us, sub, b.full, b.sub) then us, sub = b.full, b.sub end
        b.full, b.sub = later(full, full_sub, us, sub)
    end
end

-- Return where in the line a caller stands by itself, or with others.
local function spot_of(b, number)
    for at, place in ipairs(b.line) do
        if place.first == number and place.last == number then return at end
    end
end

local function run_of(b, number)
    for at, place in ipairs(b.line) do
        if place.first <= number and number <= place.last then return at end
    end
end

-- Give a place up. What has been corrected since it was taken is in the cost. A caller that does not
-- know when it leaves may have been told so by a reply that was lost. Of a place that has left without
-- its caller, who was stopped for long, what has come back since is not had twice.
local function leave(b, number, due, stopped)
    local at = spot_of(b, number) or due > 0 and run_of(b, number)
    if at then
        local place = b.line[at]
        local us, sub = minus(b, place.cost, place.cost_sub, b.cost, b.cost_sub)
        if place.count == 1 then
            table.remove(b.line, at)
            if at == 1 then cut_surplus(b, now) end
            charge(b, us, sub)
        else
            if us < 0 then us, sub = 0, 0 end
            place.count, place.cost, place.cost_sub, place.text = place.count - 1, us, sub, nil
        end
    elseif due > 0 and due <= now then
        local us, sub = b.cost, b.cost_sub
        if stopped then
            local lacks, lacks_sub = b.span - (now - due), b.span_sub
            if lacks < 0 then lacks, lacks_sub = 0, 0 end
            if above(us, sub, lacks, lacks_sub) then us, sub = lacks, lacks_sub end
        end
        charge(b, minus(b, 0, 0, us, sub))
    end
end

local function renew(buckets, number, longest, left)
    local spots, found = {}, 0
    for i, b in ipairs(buckets) do
        spots[i] = spot_of(b, number)
        if spots[i] then found = found + 1 end
    end
    local wait, slowest, kept, due
    if found < #buckets then -- it has left unused, or was given back, or the store has lost it
        for _, b in ipairs(buckets) do leave(b, number, left, true) end
        wait, slowest, kept, due = take(buckets, longest)
    else
        wait, slowest, kept, due = keep_place(buckets, spots, number, longest)
    end
    for i, b in ipairs(buckets) do
        if kept == 0 and spots[i] == 1 then cut_surplus(b, now) end
        advance(b)
    end
    return wait, slowest, kept, due, true
end

-- Take the charge of one bucket if it is there, and more as far as that is.
local function lease(b, more, more_sub)
    local wait, slowest, _, _, changed = take({ b }, 0)
    if wait > 0 then return wait, slowest, 0, 0, changed end
    local us, sub = plus(b, now, 0, b.span, b.span_sub)
    us, sub = minus(b, us, sub, b.full, b.sub)
    if us < 0 then us, sub = 0, 0 end
    if above(us, sub, more, more_sub) then us, sub = more, more_sub end
    b.full, b.sub = plus(b, b.full, b.sub, us, sub)
    return 0, slowest, us, sub, true
end

local function act(buckets)
    local longest, at = argv[2] + 0, 6 * #keys + 3
    if operation == 'ask' then longest = -1 end
    if operation == 'lease' then return lease(buckets[1], argv[at] + 0, argv[at + 1] + 0) end
    if operation == 'take' or operation == 'claim' or longest < 0 then return take(buckets, longest) end
    if operation == 'renew' then return renew(buckets, argv[at] + 0, longest, argv[at + 1] + 0) end
    for _, b in ipairs(buckets) do
        if operation == 'cancel' then leave(b, argv[at] + 0, argv[at + 1] + 0) end
        if operation == 'correct' then charge(b, b.cost, b.cost_sub) end
        if operation == 'pause' and longest > 0 then b.closed = max(b.closed or 0, now + longest) end
        if operation == 'resume' and b.closed then
            b.closed = now
            end_pause(b, now)
        end
        if operation == 'reset' then b.full, b.sub, b.closed, b.line = now, 0, nil, {} end
    end
    return 0, 0, 0, 0, operation ~= 'level'
end

-- Writing

local function written(b)
    local words = { format('%016.0f', b.full) }
    if b.sub > 0 then words[2] = '+' .. digits(b.sub) end
    words[#words + 1] = b.text
    if b.closed then words[#words + 1] = '!' .. digits(b.closed) end
    for _, p in ipairs(b.line) do
        words[#words + 1] = p.text or ';' .. table.concat({ digits(p.first), digits(p.last), digits(p.count),
            digits(p.cost), digits(p.cost_sub), digits(p.floor), digits(p.floor_sub), digits(p.due),
            digits(p.deadline) }, ':')
    end
    return table.concat(words)
end

local function save(i, b, tail)
    local value, life
    if b.lacks > 0 or b.lacks_sub > 0 or b.paused > 0 or #b.line > 0 then
        local last = max(tail.base + (tail.sub > 0 and 1 or 0), tail.left)
        for _, place in ipairs(b.line) do last = max(last, place.deadline) end
        value, life = written(b), floor((last - now) / 1000) + margin
    elseif b.kept then -- full, as without a value: so this one goes at once, by a command less
        value, life = '0000000000000000' .. b.text, 1
    else
        return
    end
    call('SET', keys[i], value, 'PX', digits(life))
end

local buckets, tails = {}, {}
for i = 1, #keys do
    buckets[i] = load(i)
    if not buckets[i] then return redis.error_reply('CORRUPT the value is not that of a bucket') end
end
local wait, slowest, place, due, changed = act(buckets)
local reply = { wait, slowest, place, due }
for i, b in ipairs(buckets) do
    local tail, waiting = tail_of(b, #b.line), 0
    if max(tail.base, b.full) > LAST then
        return redis.error_reply('OVERFLOW the bucket would be empty for too long')
    end
    for _, one in ipairs(b.line) do waiting = waiting + one.count end
    b.lacks, b.lacks_sub, b.paused = tail.base - now, tail.sub, max((b.closed or now) - now, 0)
    if b.lacks < 0 then b.lacks, b.lacks_sub = 0, 0 end
    tails[i] = tail
    for _, figure in ipairs({ b.lacks, b.lacks_sub, b.paused, waiting }) do reply[#reply + 1] = figure end
end
if changed then
    for i, b in ipairs(buckets) do save(i, b, tails[i]) end
end
return reply
