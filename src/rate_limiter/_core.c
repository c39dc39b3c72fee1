/* The compiled core: the hottest calls of the package once more, in C.
 *
 * Each is the twin of a function in Python, which is its specification and stands where it is used,
 * marked with `@twin("name")`; core.py says how the two are put together. A twin here does what is
 * plain, and exactly that. Whatever it cannot say for sure it hands to the Python function, with the
 * same arguments: a line, a pause, a step under way, numbers of other kinds or beyond 64 bits, wrong
 * arguments. So every error and every message is Python's own (P46).
 *
 * The interpreter's lock is all the protection there is. From the question whether a step is under
 * way to the change of `full` no code of Python's runs: no thread, handler or finalizer comes in
 * between (P18, P19). A build without that lock gets no compiled core.
 *
 * An instant is a whole number of nanoseconds and a part of one, counted in 1/scale ns, so that it
 * is exact in two 64-bit integers, and comparing takes no division.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#ifdef __linux__
#include <time.h>
#endif

#if defined(Py_GIL_DISABLED) || defined(PYPY_VERSION)
#error "the compiled core needs CPython with its global lock; elsewhere Python serves"
#endif

typedef struct {
    int64_t ns, part;
} Instant; /* or a duration, such as what a token takes; 0 <= part < scale */

/* What is farther away than this is left to Python, so that no sum of three overflows. */
#define LONGEST ((int64_t)1 << 60)                     /* of a price or a span: 36 years in ns */
#define LATEST_NOW ((int64_t)1 << 62)                  /* of a clock: 146 years */
#define LATEST_FULL (LATEST_NOW + 2 * LONGEST)
#define LARGE ((int64_t)1 << 53)                       /* as in units.py */

enum { FAILED = -1, REFUSED = 0, TAKEN = 1, UNSURE = 2, ADDED = 3, ASKED = 4 };

/* ------------------------------------------------------------------ what this copy of it knows */

/* The classes of Python whose objects are read here, each told by `layout`: where their slots are,
 * which methods the rest relies on, and which objects mark their states. */
enum { MOST_METHODS = 2, MOST_SLOTS = 6, MOST_MARKS = 2 };
typedef struct {
    const char *name;
    const char *methods[MOST_METHODS];
    const char *slots[MOST_SLOTS];
} Kind;
typedef struct {
    PyTypeObject *type;
    PyObject *names[MOST_METHODS], *methods[MOST_METHODS];
    PyObject *marks[MOST_MARKS];
    Py_ssize_t at[MOST_SLOTS];
    unsigned int version; /* of the class whose methods were last found to be as known */
} Layout;

enum { JOURNAL, LIMIT, LEDGER, BUCKET, LIMITER, PERMIT, KEYED, ENTRY, RESTING, KINDS };
enum { BUSY };
enum { B_LEDGER, B_NOW };
enum { L_FAST, L_PERMIT };
enum { NEW, AT_ONCE };
enum { E_KEY, E_LIMITER };
enum { R_LIMIT, R_NOW, R_FULL_AT, R_IN_USE, R_COUNT, R_MOST };
static const Kind kinds[KINDS] = {
    [JOURNAL] = {"journal", {NULL}, {"busy"}},
    [LIMIT] = {"limit", {"cost"}, {NULL}},
    [LEDGER] = {"ledger", {NULL}, {NULL}},
    [BUCKET] = {"bucket", {"_at_once"}, {"_ledger", "_now"}},
    [LIMITER] = {"limiter", {"acquire"}, {"_fast", "_permit"}},
    [PERMIT] = {"permit", {"__enter__"}, {NULL}},
    [KEYED] = {"keyed", {"__getitem__", "_take_at_rest"}, {NULL}},
    [ENTRY] = {"entry", {NULL}, {"key", "limiter"}},
    [RESTING] = {"at_rest", {"take"}, {"limit", "now", "full_at", "in_use", "count", "most"}},
};

typedef struct {
    Layout layouts[KINDS];
    PyObject *journal;
    PyObject *monotonic_ns, *one;
    PyObject *str_cost, *str_unit, *str_scale, *str_span, *str_keys, *str_tend, *str_warn;
    int bytes_warning; /* whether Python was started with -b */
    PyTypeObject *twin_type, *moment_type;
} State;

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define FIELD(object, layout, index) SLOT(object, (layout)->at[index])

static inline int is_plainly(PyObject *object, const Layout *layout) {
    return Py_IS_TYPE(object, layout->type);
}

static inline int is_a(PyObject *object, const Layout *layout) {
    return Py_IS_TYPE(object, layout->type) ||
           (layout->type != NULL && PyType_IsSubtype(Py_TYPE(object), layout->type));
}

/* Look whether the methods of an object are those that are known: not overridden by a subclass, not
 * replaced, and not found in another way than usual. */
static int look_up(PyObject *object, Layout *layout) {
    int index;
    if (Py_TYPE(object)->tp_getattro != PyObject_GenericGetAttr) {
        return 0;
    }
    for (index = 0; index < MOST_METHODS && layout->names[index] != NULL; index++) {
        if (_PyType_Lookup(Py_TYPE(object), layout->names[index]) != layout->methods[index]) {
            return 0;
        }
    }
    layout->version = index > 0 ? Py_TYPE(object)->tp_version_tag : 0;
    return index > 0;
}

/* Tell the same, sooner: the version of a class is another once anything of it has changed, and no
 * two classes have the same. It is 0 if there is none. */
static inline int as_known(PyObject *object, const Layout *layout) {
    unsigned int version = Py_TYPE(object)->tp_version_tag;
    return (version != 0 && version == layout->version) || look_up(object, (Layout *)layout);
}

static inline int step_under_way(const State *state) {
    return FIELD(state->journal, &state->layouts[JOURNAL], BUSY) != Py_False;
}

/* time.monotonic_ns without the call: the same clock, for the instants of both cores are compared with
 * each other. Elsewhere it is the interpreter's own function, which on Linux takes 1 to 3 ns longer. */
static inline int64_t monotonic(void) {
#ifdef __linux__
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#elif PY_VERSION_HEX >= 0x030D0000
    PyTime_t now = 0;
    (void)PyTime_MonotonicRaw(&now);
    return now;
#else
    return _PyTime_GetMonotonicClock();
#endif
}

/* A number of units, in two's complement: as it lies in memory, it is an integer of 128 bits. */
typedef struct {
#if PY_LITTLE_ENDIAN
    uint64_t low;
    int64_t high;
#else
    int64_t high;
    uint64_t low;
#endif
} Units;

enum { MOST_BITS = 125 }; /* of what is read, so that no sum of three overflows */

static inline Units plus(Units one, Units another) {
    Units sum = {.high = one.high + another.high, .low = one.low + another.low};
    sum.high += sum.low < one.low;
    return sum;
}

static inline int is_later(Units one, Units another) {
    return one.high > another.high || (one.high == another.high && one.low > another.low);
}

/* Return ns * scale + part, of an instant up to LATEST_FULL; `scale` is of at most 60 bits. */
static inline Units in_units(Instant instant, int64_t scale) {
    uint64_t lower = (uint32_t)instant.ns, scale_lower = (uint32_t)scale;
    int64_t upper = instant.ns >> 32, scale_upper = scale >> 32;
    int64_t middle = upper * (int64_t)scale_lower + (int64_t)lower * scale_upper;
    Units outer = {.high = upper * scale_upper + (middle >> 32), .low = lower * scale_lower};
    Units inner = {.high = 0, .low = (uint64_t)middle << 32};
    Units part = {.high = 0, .low = (uint64_t)instant.part};
    return plus(plus(outer, inner), part);
}

/* Read an integer: 1, or 0 if it does not fit. */
static inline int read_units(PyObject *number, Units *units) {
    if (!PyLong_CheckExact(number) || _PyLong_NumBits(number) > MOST_BITS) {
        return 0;
    }
#if PY_VERSION_HEX >= 0x030D0000
    (void)PyLong_AsNativeBytes(number, units, sizeof(Units), Py_ASNATIVEBYTES_NATIVE_ENDIAN);
#else
    (void)_PyLong_AsByteArray((PyLongObject *)number, (unsigned char *)units, sizeof(Units),
                              PY_LITTLE_ENDIAN, 1);
#endif
    return 1;
}

/* Split an integer into whole ones of `scale` and the rest: 1, or 0 if they do not fit. It is divided
 * here, for the division of Python's integers looks for signals, and so may run anything. */
static int split(PyObject *number, int64_t scale, int64_t most, Instant *result) {
    uint64_t divisor = (uint64_t)scale, whole = 0, rest;
    Units units;
    int bit, negative;
    if (scale <= 0 || !read_units(number, &units)) {
        return 0;
    }
    negative = units.high < 0; /* then ~number is divided, which is -number - 1 */
    rest = (uint64_t)(negative ? ~units.high : units.high);
    units.low = negative ? ~units.low : units.low;
    if (rest >= divisor) {
        return 0;
    }
    for (bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (units.low >> bit & 1);
        whole <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            whole |= 1;
        }
    }
    if (whole > (uint64_t)most - (uint64_t)negative) {
        return 0;
    }
    result->ns = negative ? -1 - (int64_t)whole : (int64_t)whole;
    result->part = negative ? scale - 1 - (int64_t)rest : (int64_t)rest;
    return 1;
}

static inline PyObject *number_of(Units units) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(&units, sizeof(Units), Py_ASNATIVEBYTES_NATIVE_ENDIAN);
#else
    return _PyLong_FromByteArray((unsigned char *)&units, sizeof(Units), PY_LITTLE_ENDIAN, 1);
#endif
}

/* The integer that `split` was given. */
static PyObject *join(Instant instant, int64_t scale) {
    return number_of(in_units(instant, scale));
}

static void free_instance(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------ LimitFields: base of Limit */

typedef struct {
    PyObject_HEAD
    Instant unit, span; /* what a token takes, and a full bucket */
    int64_t scale;
    double last_tokens; /* the last cost, and its price */
    Instant last_price;
    char known; /* whether the above has been read from the attributes of Python */
    char wide;  /* whether it does not fit */
} LimitFields;

static int read_number(PyObject *self, PyObject *name, int64_t scale, Instant *result) {
    PyObject *number = PyObject_GetAttr(self, name);
    int fits = number == NULL ? -1 : split(number, scale, LONGEST, result);
    Py_XDECREF(number);
    return fits;
}

/* 1 if the terms fit into 64 bits, 0 if not, -1 after an error. */
static int read_terms(const State *state, LimitFields *limit) {
    Instant scale = {0, 0};
    PyObject *self = (PyObject *)limit;
    int fits = read_number(self, state->str_scale, 1, &scale);
    if (fits == 1) {
        limit->scale = scale.ns;
        fits = read_number(self, state->str_unit, scale.ns, &limit->unit);
    }
    if (fits == 1) {
        fits = read_number(self, state->str_span, scale.ns, &limit->span);
    }
    if (fits >= 0) {
        limit->last_tokens = 1.0;
        limit->last_price = limit->unit;
        limit->wide = !fits;
        limit->known = 1;
    }
    return fits;
}

static inline int terms_fit(const State *state, LimitFields *limit) {
    return limit->known ? !limit->wide : read_terms(state, limit);
}

/* Multiply what is not negative; 0 if the result is beyond 64 bits. */
static inline int times(int64_t one, int64_t another, int64_t *result) {
    if (another != 0 && one > INT64_MAX / another) {
        return 0;
    }
    *result = one * another;
    return 1;
}

/* Find the price of a cost where that takes no Python: 1, or 0. */
static inline int known_price(LimitFields *limit, PyObject *tokens, int64_t whole, Instant *price) {
    double cost = whole ? (double)whole : PyFloat_AS_DOUBLE(tokens);
    Instant product = {0, 0};
    if (cost == limit->last_tokens) {
        *price = limit->last_price;
        return 1;
    }
    if (!whole || !times(whole, limit->unit.ns, &product.ns) ||
        !times(whole, limit->unit.part, &product.part)) {
        return 0;
    }
    if (product.ns > LONGEST || product.part / limit->scale > LONGEST - product.ns) {
        return 0;
    }
    product.ns += product.part / limit->scale;
    product.part %= limit->scale;
    limit->last_tokens = cost;
    limit->last_price = *price = product;
    return 1;
}

/* Tell whether a price can fit, as far as that is known without Python. */
static inline int may_fit(const LimitFields *limit, PyObject *tokens, int64_t whole) {
    double cost = whole ? (double)whole : PyFloat_AS_DOUBLE(tokens);
    return cost * (double)(limit->unit.ns + 1) < (double)(LONGEST / 2);
}

/* Ask Python's `Limit.cost`: 1, or 0 if the price does not fit, or -1 if it was refused. */
static int asked_price(const State *state, LimitFields *limit, PyObject *tokens, Instant *price) {
    PyObject *units = PyObject_CallMethodOneArg((PyObject *)limit, state->str_cost, tokens);
    int fits = units == NULL ? -1 : split(units, limit->scale, LONGEST, price);
    Py_XDECREF(units);
    if (fits == 1 && PyFloat_CheckExact(tokens)) {
        limit->last_tokens = PyFloat_AS_DOUBLE(tokens);
        limit->last_price = *price;
    }
    return fits;
}

static PyType_Slot limit_slots[] = {
    {Py_tp_dealloc, free_instance},
    {0, NULL},
};
static PyType_Spec limit_spec = {
    "rate_limiter._core.LimitFields", sizeof(LimitFields), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, limit_slots,
};

/* ------------------------------------------------------------------ LedgerFields: base of Ledger */

typedef struct {
    PyObject_HEAD
    Instant full;    /* when the bucket is full, if `scale` is not 0 */
    int64_t scale;   /* by which `full` is split; 0 if only `exact` counts */
    PyObject *exact; /* the same as Python's integer, if it is known; NULL once C has changed it */
    PyObject *closed_until, *fast, *limit, *line;
} LedgerFields;

static PyObject *full_at_get(PyObject *self, void *Py_UNUSED(closure)) {
    LedgerFields *ledger = (LedgerFields *)self;
    if (ledger->exact == NULL) {
        if (ledger->scale == 0) {
            PyErr_SetString(PyExc_AttributeError, "full_at");
            return NULL;
        }
        ledger->exact = join(ledger->full, ledger->scale);
    }
    return Py_XNewRef(ledger->exact); /* the same object until it changes, as a draft expects */
}

/* A write of a step: it makes no object and calls nothing. */
static int full_at_set(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    LedgerFields *ledger = (LedgerFields *)self;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "full_at cannot be deleted");
        return -1;
    }
    ledger->scale = 0;
    Py_XSETREF(ledger->exact, Py_NewRef(value));
    return 0;
}

/* Have `full` split by the scale of a limit: 1, or 0 if it does not fit, or -1. */
static int split_full(LedgerFields *ledger, const LimitFields *limit) {
    PyObject *exact;
    int fits;
    if (ledger->scale == limit->scale) {
        return 1;
    }
    exact = full_at_get((PyObject *)ledger, NULL);
    if (exact == NULL) {
        return -1;
    }
    fits = split(exact, limit->scale, LATEST_FULL, &ledger->full);
    ledger->scale = fits == 1 ? limit->scale : 0;
    Py_DECREF(exact);
    return fits;
}

/* The rule of the whole algorithm; see FastPath.allow. */
static inline int charge(LedgerFields *ledger, const LimitFields *limit, Instant price, int64_t now) {
    Instant end = ledger->full;
    int64_t latest = now + limit->span.ns;
    if (end.ns < now) {
        end.ns = now;
        end.part = 0;
    }
    end.ns += price.ns;
    end.part += price.part;
    if (end.part >= limit->scale) {
        end.part -= limit->scale;
        end.ns++;
    }
    if (end.ns > latest || (end.ns == latest && end.part > limit->span.part)) {
        return REFUSED;
    }
    ledger->full = end;
    Py_CLEAR(ledger->exact); /* an integer: nothing runs */
    return TAKEN;
}

static int ledger_traverse(PyObject *self, visitproc visit, void *arg) {
    LedgerFields *ledger = (LedgerFields *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(ledger->exact); /* an integer, unless somebody else has written it */
    Py_VISIT(ledger->closed_until);
    Py_VISIT(ledger->fast);
    Py_VISIT(ledger->limit);
    Py_VISIT(ledger->line);
    return 0;
}

static int ledger_clear(PyObject *self) {
    LedgerFields *ledger = (LedgerFields *)self;
    Py_CLEAR(ledger->exact);
    Py_CLEAR(ledger->closed_until);
    Py_CLEAR(ledger->fast);
    Py_CLEAR(ledger->limit);
    Py_CLEAR(ledger->line);
    return 0;
}

static void ledger_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    (void)ledger_clear(self);
    free_instance(self);
}

static PyGetSetDef ledger_getset[] = {
    {"full_at", full_at_get, full_at_set, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef ledger_members[] = {
    {"closed_until", T_OBJECT_EX, offsetof(LedgerFields, closed_until), 0, NULL},
    {"fast", T_OBJECT_EX, offsetof(LedgerFields, fast), 0, NULL},
    {"limit", T_OBJECT_EX, offsetof(LedgerFields, limit), 0, NULL},
    {"line", T_OBJECT_EX, offsetof(LedgerFields, line), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot ledger_slots[] = {
    {Py_tp_dealloc, ledger_dealloc},   {Py_tp_traverse, ledger_traverse},
    {Py_tp_clear, ledger_clear},       {Py_tp_getset, ledger_getset},
    {Py_tp_members, ledger_members},   {0, NULL},
};
static PyType_Spec ledger_spec = {
    "rate_limiter._core.LedgerFields", sizeof(LedgerFields), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, ledger_slots,
};

/* ------------------------------------------------------------------ taking tokens */

typedef struct {
    int64_t now;
    Instant full;
    LimitFields *limit;
} Taken; /* what a bucket was like just after, with a reference to its limit */

static inline int decide(const State *state, LedgerFields *ledger, LimitFields *limit,
                         Instant price, int64_t now, Taken *taken) {
    int outcome;
    if (ledger->fast != (PyObject *)limit || step_under_way(state)) {
        return UNSURE;
    }
    outcome = split_full(ledger, limit);
    if (outcome != 1) {
        return outcome == 0 ? UNSURE : FAILED;
    }
    outcome = charge(ledger, limit, price, now);
    if (outcome == TAKEN && taken != NULL) {
        taken->now = now;
        taken->full = ledger->full;
        taken->limit = (LimitFields *)Py_NewRef(limit);
    }
    return outcome;
}

/* Read a clock of the user's: 1, or 0 if it says nothing that fits, or -1. */
static int read_clock(PyObject *clock, int64_t *now) {
    PyObject *number = PyObject_CallNoArgs(clock);
    int overflow = 0, fits = 0;
    if (number == NULL) {
        return -1;
    }
    if (PyLong_Check(number)) {
        *now = PyLong_AsLongLongAndOverflow(number, &overflow);
        fits = !overflow && *now <= LATEST_NOW && *now >= -LATEST_NOW;
    }
    Py_DECREF(number);
    return fits;
}

/* The same where Python is called, which may change anything. */
static int take_asking(const State *state, LedgerFields *ledger, LimitFields *limit, PyObject *clock,
                       PyObject *tokens, int64_t whole, Taken *taken) {
    Instant price = {0, 0};
    int64_t now = 0;
    /* What does not fit is left to Python before the clock is read, so that it is read once, unless
     * what it says does not fit. */
    int outcome = may_fit(limit, tokens, whole) ? split_full(ledger, limit) : 0;
    if (outcome == 1) {
        outcome = read_clock(clock, &now);
    }
    if (outcome == 1 && !known_price(limit, tokens, whole, &price)) {
        outcome = asked_price(state, limit, tokens, &price);
    }
    if (outcome != 1) {
        return outcome == 0 ? UNSURE : FAILED;
    }
    return decide(state, ledger, limit, price, now, taken);
}

/* Return a cost that is a plain integer, 0 for a plain float, -1 for anything else. */
static inline int64_t plain_cost(const State *state, PyObject *tokens) {
    int overflow = 0;
    int64_t whole;
    if (tokens == state->one) {
        return 1;
    }
    if (PyFloat_CheckExact(tokens)) {
        return 0;
    }
    if (!PyLong_CheckExact(tokens)) {
        return -1;
    }
    whole = PyLong_AsLongLongAndOverflow(tokens, &overflow);
    return !overflow && whole > 0 && whole < LARGE ? whole : -1;
}

/* Take tokens from a bucket, if they are there and nothing is in the way; `taken` may be NULL. */
static int take(const State *state, PyObject *bucket, PyObject *tokens, Taken *taken) {
    const Layout *layout = &state->layouts[BUCKET];
    LedgerFields *ledger = (LedgerFields *)FIELD(bucket, layout, B_LEDGER);
    PyObject *clock = FIELD(bucket, layout, B_NOW);
    LimitFields *limit;
    Instant price = {0, 0};
    int64_t whole = plain_cost(state, tokens);
    int outcome;
    if (whole < 0 || ledger == NULL || clock == NULL || state->journal == NULL ||
        !is_plainly((PyObject *)ledger, &state->layouts[LEDGER])) {
        return UNSURE;
    }
    limit = (LimitFields *)ledger->fast;
    if (limit == NULL || !is_plainly((PyObject *)limit, &state->layouts[LIMIT]) ||
        step_under_way(state)) {
        return UNSURE;
    }
    outcome = terms_fit(state, limit);
    if (outcome != 1) {
        return outcome == 0 ? UNSURE : FAILED;
    }
    if (clock == state->monotonic_ns && known_price(limit, tokens, whole, &price)) {
        return decide(state, ledger, limit, price, monotonic(), taken);
    }
    Py_INCREF(ledger);
    Py_INCREF(limit);
    Py_INCREF(clock);
    Py_INCREF(tokens); /* of a permit, which may be given others */
    outcome = take_asking(state, ledger, limit, clock, tokens, whole, taken);
    Py_DECREF(tokens);
    Py_DECREF(clock);
    Py_DECREF(limit);
    Py_DECREF(ledger);
    return outcome;
}

/* ------------------------------------------------------------------ keys at rest */

/* Of a key at rest a dictionary holds the integer of Python, which every step may read. So that is what
 * is counted in here, in units; and nothing is divided. */

static inline int is_plain_type(const State *state, const PyTypeObject *type) {
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || type == Py_TYPE(Py_None) ||
           (type == &PyBytes_Type && !state->bytes_warning);
}

/* Tell whether a key can be at rest; see `is_plain` in at_rest.py. */
static int is_plain(const State *state, PyObject *key) {
    Py_ssize_t index;
    if (!PyTuple_CheckExact(key)) {
        return is_plain_type(state, Py_TYPE(key));
    }
    for (index = 0; index < PyTuple_GET_SIZE(key); index++) {
        if (!is_plain_type(state, Py_TYPE(PyTuple_GET_ITEM(key, index)))) {
            return 0;
        }
    }
    return 1;
}

/* Have a key at rest be full at `end`. Neither an integer nor a dictionary of plain keys is anything
 * that makes the garbage collector run. */
static int rest_until(PyObject *full_at, PyObject *key, Units end) {
    PyObject *number = number_of(end);
    int failed = number == NULL || PyDict_SetItem(full_at, key, number) < 0;
    Py_XDECREF(number);
    return failed ? FAILED : TAKEN;
}

/* Tell whether anything of the hash of a key is in use: 1, 0, or -1 after an error. */
static int hash_in_use(PyObject *in_use, PyObject *key) {
    PyObject *number;
    int found;
    if (PyDict_GET_SIZE(in_use) == 0) {
        return 0;
    }
    number = PyLong_FromSsize_t(PyObject_Hash(key));
    found = number == NULL ? -1 : PyDict_Contains(in_use, number);
    Py_XDECREF(number);
    return found;
}

/* Add a key that is at rest from now on, if there is room. */
static int add_at_rest(const Layout *layout, PyObject *keys, PyObject *key, Units end) {
    PyObject *in_use = FIELD(keys, layout, R_IN_USE), *most = FIELD(keys, layout, R_MOST);
    PyObject **count = &FIELD(keys, layout, R_COUNT), *next;
    int64_t number, room;
    int overflow = 0, outcome;
    if (in_use == NULL || most == NULL || *count == NULL || !PyDict_CheckExact(in_use) ||
        !PyLong_CheckExact(most) || !PyLong_CheckExact(*count)) {
        return UNSURE;
    }
    number = PyLong_AsLongLongAndOverflow(*count, &overflow);
    room = overflow ? 0 : PyLong_AsLongLongAndOverflow(most, &overflow);
    if (overflow) {
        return UNSURE;
    }
    outcome = number >= room ? 1 : hash_in_use(in_use, key);
    if (outcome != 0) {
        return outcome < 0 ? FAILED : REFUSED;
    }
    next = PyLong_FromLongLong(number + 1); /* what may run out of memory comes first */
    if (next == NULL || rest_until(FIELD(keys, layout, R_FULL_AT), key, end) == FAILED) {
        Py_XDECREF(next);
        return FAILED;
    }
    Py_SETREF(*count, next); /* an integer: nothing runs */
    return ADDED;
}

/* The two lines of `KeysAtRest.take`. REFUSED means: use the slow path. */
static int decide_at_rest(const State *state, PyObject *keys, PyObject *key,
                          const LimitFields *limit, Instant price, int64_t ns) {
    const Layout *layout = &state->layouts[RESTING];
    PyObject *full_at = FIELD(keys, layout, R_FULL_AT), *held;
    Instant instant = {ns, 0};
    Units now = in_units(instant, limit->scale), cost = in_units(price, limit->scale);
    Units latest = plus(now, in_units(limit->span, limit->scale)), start = now;
    if (full_at == NULL || !PyDict_CheckExact(full_at)) {
        return UNSURE;
    }
    if (step_under_way(state)) {
        return REFUSED;
    }
    held = PyDict_GetItemWithError(full_at, key);
    if (held == NULL && PyErr_Occurred()) {
        return FAILED;
    }
    if (held != NULL && !read_units(held, &start)) {
        return UNSURE;
    }
    cost = plus(is_later(start, now) ? start : now, cost);
    if (is_later(cost, latest)) {
        return REFUSED;
    }
    return held == NULL ? add_at_rest(layout, keys, key, cost) : rest_until(full_at, key, cost);
}

/* Take tokens of a key that is at rest, or is new and will be; the key is plain. */
static int take_at_rest(const State *state, PyObject *keys, PyObject *key, PyObject *tokens) {
    const Layout *layout = &state->layouts[RESTING];
    LimitFields *limit = (LimitFields *)FIELD(keys, layout, R_LIMIT);
    PyObject *clock = FIELD(keys, layout, R_NOW);
    Instant price = {0, 0};
    int64_t whole = plain_cost(state, tokens), now = 0;
    int outcome;
    if ((PyObject *)limit == Py_None) {
        return REFUSED;
    }
    if (whole < 0 || limit == NULL || clock == NULL || state->journal == NULL ||
        !is_plainly((PyObject *)limit, &state->layouts[LIMIT])) {
        return UNSURE;
    }
    outcome = terms_fit(state, limit);
    if (outcome != 1) {
        return outcome == 0 ? UNSURE : FAILED;
    }
    if (clock == state->monotonic_ns && known_price(limit, tokens, whole, &price)) {
        return decide_at_rest(state, keys, key, limit, price, monotonic());
    }
    Py_INCREF(limit);
    Py_INCREF(clock);
    Py_INCREF(tokens);
    /* Python is called, which may change anything. */
    outcome = may_fit(limit, tokens, whole) ? read_clock(clock, &now) : 0;
    if (outcome == 1 && !known_price(limit, tokens, whole, &price)) {
        outcome = asked_price(state, limit, tokens, &price);
    }
    if (outcome == 1) {
        outcome = decide_at_rest(state, keys, key, limit, price, now);
    } else {
        outcome = outcome == 0 ? UNSURE : FAILED;
    }
    Py_DECREF(tokens);
    Py_DECREF(clock);
    Py_DECREF(limit);
    return outcome;
}

/* ------------------------------------------------------------------ Moment: (now, limit, full_at) */

typedef struct {
    PyObject_HEAD
    Taken taken;
} Moment;

static PyObject *moment_new(const State *state, const Taken *taken) {
    Moment *moment = PyObject_New(Moment, state->moment_type);
    if (moment == NULL) {
        Py_DECREF(taken->limit);
        return NULL;
    }
    moment->taken = *taken;
    return (PyObject *)moment;
}

static PyObject *moment_item(PyObject *self, Py_ssize_t index) {
    const Taken *taken = &((Moment *)self)->taken;
    switch (index) {
    case 0:
        return PyLong_FromLongLong(taken->now);
    case 1:
        return Py_NewRef(taken->limit);
    case 2:
        return join(taken->full, taken->limit->scale);
    default:
        PyErr_SetString(PyExc_IndexError, "a moment has three parts");
        return NULL;
    }
}

static Py_ssize_t moment_length(PyObject *Py_UNUSED(self)) {
    return 3;
}

static void moment_dealloc(PyObject *self) {
    Py_DECREF(((Moment *)self)->taken.limit);
    free_instance(self);
}

static PyType_Slot moment_slots[] = {
    {Py_tp_dealloc, moment_dealloc},
    {Py_sq_item, moment_item},
    {Py_sq_length, moment_length},
    {0, NULL},
};
static PyType_Spec moment_spec = {
    "rate_limiter._core.Moment", sizeof(Moment), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, moment_slots,
};

/* ------------------------------------------------------------------ PermitFields: base of permits */

typedef struct {
    PyObject_HEAD
    const State *core; /* NULL if Python has made it */
    PyObject *door, *tokens, *state, *payer, *paid, *waited;
    PyObject *after; /* what the bucket was like, if Python has said so or has asked */
    Taken taken;     /* the same, if it is known here; otherwise without a limit */
} PermitFields;

static PyObject *after_get(PyObject *self, void *Py_UNUSED(closure)) {
    PermitFields *permit = (PermitFields *)self;
    const Taken *taken = &permit->taken;
    PyObject *full_at, *after;
    if (permit->after == NULL) {
        if (taken->limit == NULL) {
            PyErr_SetString(PyExc_AttributeError, "_after");
            return NULL;
        }
        full_at = join(taken->full, taken->limit->scale);
        if (full_at == NULL) {
            return NULL;
        }
        after = Py_BuildValue("LON", (long long)taken->now, taken->limit, full_at);
        Py_XSETREF(permit->after, after); /* making a tuple may have run anything, also this */
    }
    return Py_XNewRef(permit->after);
}

static int after_set(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_after cannot be deleted");
        return -1;
    }
    Py_XSETREF(((PermitFields *)self)->after, Py_NewRef(value));
    return 0;
}

static int permit_traverse(PyObject *self, visitproc visit, void *arg) {
    PermitFields *permit = (PermitFields *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(permit->door);
    Py_VISIT(permit->tokens);
    Py_VISIT(permit->state);
    Py_VISIT(permit->payer);
    Py_VISIT(permit->paid);
    Py_VISIT(permit->waited);
    Py_VISIT(permit->after);
    Py_VISIT(permit->taken.limit);
    return 0;
}

static int permit_clear(PyObject *self) {
    PermitFields *permit = (PermitFields *)self;
    Py_CLEAR(permit->door);
    Py_CLEAR(permit->tokens);
    Py_CLEAR(permit->state);
    Py_CLEAR(permit->payer);
    Py_CLEAR(permit->paid);
    Py_CLEAR(permit->waited);
    Py_CLEAR(permit->after);
    Py_CLEAR(permit->taken.limit);
    return 0;
}

static void permit_finalize(PyObject *self);

static void permit_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    (void)permit_clear(self);
    free_instance(self);
}

static PyGetSetDef permit_getset[] = {
    {"_after", after_get, after_set, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef permit_members[] = {
    {"_door", T_OBJECT_EX, offsetof(PermitFields, door), 0, NULL},
    {"_tokens", T_OBJECT_EX, offsetof(PermitFields, tokens), 0, NULL},
    {"_state", T_OBJECT_EX, offsetof(PermitFields, state), 0, NULL},
    {"_payer", T_OBJECT_EX, offsetof(PermitFields, payer), 0, NULL},
    {"_paid", T_OBJECT_EX, offsetof(PermitFields, paid), 0, NULL},
    {"_waited", T_OBJECT_EX, offsetof(PermitFields, waited), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot permit_slots[] = {
    {Py_tp_dealloc, permit_dealloc},   {Py_tp_traverse, permit_traverse},
    {Py_tp_clear, permit_clear},       {Py_tp_finalize, permit_finalize},
    {Py_tp_getset, permit_getset},     {Py_tp_members, permit_members},
    {0, NULL},
};
static PyType_Spec permit_spec = {
    "rate_limiter._core.PermitFields", sizeof(PermitFields), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, permit_slots,
};

/* ------------------------------------------------------------------ Twin: a function of both */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    State *state; /* of the module */
    PyObject *module;
    PyObject *python;
    PyObject *weakrefs;
} Twin;

static inline PyObject *in_python(PyObject *twin, PyObject *const *args, size_t nargsf,
                                  PyObject *names) {
    return PyObject_Vectorcall(((Twin *)twin)->python, args, nargsf, names);
}

/* Ledger.__init__ */
static PyObject *ledger_begin(PyObject *twin, PyObject *const *args, size_t nargsf,
                              PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    LedgerFields *ledger;
    if (names != NULL || PyVectorcall_NARGS(nargsf) != 3 ||
        !is_a(args[0], &state->layouts[LEDGER])) {
        return in_python(twin, args, nargsf, names);
    }
    ledger = (LedgerFields *)args[0];
    Py_XSETREF(ledger->limit, Py_NewRef(args[1]));
    Py_XSETREF(ledger->closed_until, Py_NewRef(Py_None));
    Py_XSETREF(ledger->line, Py_NewRef(Py_None));
    Py_XSETREF(ledger->fast, Py_NewRef(args[1]));
    return full_at_set(args[0], args[2], NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

/* Return the cost that a method of a bucket is given, or NULL if the arguments are none of ours. */
static inline PyObject *cost_given(const State *state, PyObject *const *args, size_t nargsf,
                                   PyObject *names, PyObject *unless_given) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (names == NULL && (count == 1 || count == 2) && is_a(args[0], &state->layouts[BUCKET])) {
        return count == 2 ? args[1] : unless_given;
    }
    return NULL;
}

static PyObject *bucket_allow(PyObject *twin, PyObject *const *args, size_t nargsf,
                              PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    PyObject *tokens = cost_given(state, args, nargsf, names, state->one);
    switch (tokens == NULL ? UNSURE : take(state, args[0], tokens, NULL)) {
    case TAKEN:
        Py_RETURN_TRUE;
    case REFUSED:
        Py_RETURN_FALSE;
    case UNSURE:
        return in_python(twin, args, nargsf, names);
    default:
        return NULL;
    }
}

static PyObject *bucket_at_once(PyObject *twin, PyObject *const *args, size_t nargsf,
                                PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    PyObject *tokens = cost_given(state, args, nargsf, names, NULL);
    Taken taken;
    switch (tokens == NULL ? UNSURE : take(state, args[0], tokens, &taken)) {
    case TAKEN:
        return moment_new(state, &taken);
    case REFUSED:
        Py_RETURN_NONE;
    case UNSURE:
        return in_python(twin, args, nargsf, names);
    default:
        return NULL;
    }
}

/* KeysAtRest.take */
static PyObject *keys_take(PyObject *twin, PyObject *const *args, size_t nargsf,
                           PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    int outcome = UNSURE;
    if (names == NULL && PyVectorcall_NARGS(nargsf) == 3 &&
        is_plainly(args[0], &state->layouts[RESTING]) && is_plain(state, args[1])) {
        outcome = take_at_rest(state, args[0], args[1], args[2]);
    }
    switch (outcome) {
    case REFUSED:
        return PyLong_FromLong(0);
    case TAKEN:
        return PyLong_FromLong(1);
    case ADDED:
        return PyLong_FromLong(2);
    case UNSURE:
        return in_python(twin, args, nargsf, names);
    default:
        return NULL;
    }
}

/* Take tokens from what a limiter has in `_fast`, if it is a bucket of the known kind. */
static int take_fast(const State *state, PyObject *limiter, PyObject *tokens, Taken *taken) {
    PyObject *bucket = FIELD(limiter, &state->layouts[LIMITER], L_FAST);
    const Layout *layout = &state->layouts[BUCKET];
    int outcome = UNSURE;
    if (bucket != NULL && is_a(bucket, layout)) {
        Py_INCREF(bucket);
        if (as_known(bucket, layout)) {
            outcome = take(state, bucket, tokens, taken);
        }
        Py_DECREF(bucket);
    }
    return outcome;
}

/* Make the permit of one token; NULL without an error if Python has to. */
static PyObject *permit_new(const State *state, PyObject *limiter) {
    const Layout *layout = &state->layouts[PERMIT];
    PyTypeObject *type = (PyTypeObject *)FIELD(limiter, &state->layouts[LIMITER], L_PERMIT);
    PermitFields *permit;
    if (type == NULL || layout->type == NULL || !PyType_Check((PyObject *)type) ||
        !PyType_IsSubtype(type, layout->type)) {
        return NULL;
    }
    Py_INCREF(type); /* the collector may run */
    permit = (PermitFields *)type->tp_alloc(type, 0);
    Py_DECREF(type);
    if (permit != NULL) {
        permit->core = state;
        permit->door = Py_NewRef(limiter);
        permit->tokens = Py_NewRef(state->one);
        permit->state = Py_NewRef(layout->marks[NEW]);
    }
    return (PyObject *)permit;
}

/* Enter a permit if its tokens are there: 1, or 2 if they are not, or 0 if Python has to tell, or -1. */
static int permit_try(const State *state, PermitFields *permit) {
    const Layout *layout = &state->layouts[PERMIT];
    Taken taken;
    int outcome;
    if (permit->state != layout->marks[NEW] || permit->door == NULL || permit->tokens == NULL ||
        !is_a(permit->door, &state->layouts[LIMITER])) {
        return 0;
    }
    outcome = take_fast(state, permit->door, permit->tokens, &taken);
    if (outcome != TAKEN) {
        return outcome == FAILED ? -1 : outcome == REFUSED ? 2 : 0;
    }
    Py_CLEAR(permit->after);
    Py_XSETREF(permit->taken.limit, taken.limit);
    permit->taken = taken;
    Py_XSETREF(permit->state, Py_NewRef(layout->marks[AT_ONCE]));
    Py_XSETREF(permit->paid, Py_NewRef(Py_None));
    return 1;
}

static PyObject *limiter_acquire(PyObject *twin, PyObject *const *args, size_t nargsf,
                                 PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    PyObject *permit;
    if (names == NULL && (count == 1 || (count == 2 && args[1] == state->one)) &&
        is_a(args[0], &state->layouts[LIMITER])) {
        permit = permit_new(state, args[0]);
        if (permit != NULL || PyErr_Occurred()) {
            return permit;
        }
    }
    return in_python(twin, args, nargsf, names);
}

static PyObject *permit_enter(PyObject *twin, PyObject *const *args, size_t nargsf,
                              PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    if (names == NULL && PyVectorcall_NARGS(nargsf) == 1 &&
        is_a(args[0], &state->layouts[PERMIT])) {
        int entered = permit_try(state, (PermitFields *)args[0]);
        if (entered == 2) { /* and the clock need not be asked for that again */
            return PyObject_CallMethod(args[0], "_enter_slowly", NULL);
        }
        if (entered) {
            return entered == 1 ? Py_NewRef(args[0]) : NULL;
        }
    }
    return in_python(twin, args, nargsf, names);
}

/* `with limiter:` is acquire() and __enter__ of what that returns. */
static PyObject *limiter_enter(PyObject *twin, PyObject *const *args, size_t nargsf,
                               PyObject *names) {
    const State *state = ((Twin *)twin)->state;
    const Layout *layout = &state->layouts[PERMIT];
    PyObject *permit = NULL, *entered;
    if (names == NULL && PyVectorcall_NARGS(nargsf) == 1 &&
        is_a(args[0], &state->layouts[LIMITER]) && Py_TYPE(args[0])->tp_dictoffset == 0 &&
        as_known(args[0], &state->layouts[LIMITER])) { /* a dict may hold an `acquire` of its own */
        permit = permit_new(state, args[0]);
    }
    if (permit == NULL) {
        return PyErr_Occurred() ? NULL : in_python(twin, args, nargsf, names);
    }
    if (as_known(permit, layout)) {
        entered = permit_enter(layout->methods[0], &permit, 1, NULL);
    } else {
        entered = PyObject_CallMethodNoArgs(permit, layout->names[0]);
    }
    Py_DECREF(permit);
    return entered;
}

/* Leaving a block changes nothing, whatever is left. */
static PyObject *leave(PyObject *twin, PyObject *const *args, size_t nargsf, PyObject *names) {
    if (names == NULL) {
        Py_RETURN_NONE;
    }
    return in_python(twin, args, nargsf, names);
}

static const struct {
    const char *name;
    vectorcallfunc call;
} twins[] = {
    {"begin_ledger", ledger_begin},   {"allow", bucket_allow},
    {"at_once", bucket_at_once},      {"take_at_rest", keys_take},
    {"acquire", limiter_acquire},     {"enter_limiter", limiter_enter},
    {"enter_permit", permit_enter},   {"leave", leave},
};

static PyObject *twin_bind(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner)) {
    return instance == NULL ? Py_NewRef(self) : PyMethod_New(self, instance);
}

/* Everything that a twin is asked about, its Python function answers. */
static PyObject *twin_getattr(PyObject *self, PyObject *name) {
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_GetAttr(((Twin *)self)->python, name);
    }
    return value;
}

static PyObject *twin_of_python(PyObject *self, void *name) {
    return PyObject_GetAttrString(((Twin *)self)->python, (const char *)name);
}

static PyObject *twin_wrapped(PyObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(((Twin *)self)->python);
}

static PyObject *twin_repr(PyObject *self) {
    return PyUnicode_FromFormat("<compiled twin of %R>", ((Twin *)self)->python);
}

static int twin_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Twin *)self)->module);
    Py_VISIT(((Twin *)self)->python);
    return 0;
}

static void twin_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    if (((Twin *)self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    Py_XDECREF(((Twin *)self)->python);
    Py_XDECREF(((Twin *)self)->module);
    free_instance(self);
}

/* It is pickled and copied as a function is: by its name. */
static PyObject *twin_reduce(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return PyObject_GetAttrString(((Twin *)self)->python, "__qualname__");
}

static int twin_setattr(PyObject *self, PyObject *name, PyObject *value) {
    return PyObject_SetAttr(((Twin *)self)->python, name, value);
}

static PyMethodDef twin_methods[] = {
    {"__reduce__", twin_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef twin_getset[] = {
    {"__class__", twin_of_python, NULL, NULL, "__class__"}, /* for whoever asks what is a function */
    {"__wrapped__", twin_wrapped, NULL, NULL, NULL},
    {"__doc__", twin_of_python, NULL, NULL, "__doc__"},
    {"__module__", twin_of_python, NULL, NULL, "__module__"},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef twin_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Twin, call), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Twin, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
/* It is never cleared, for it may be called while the collector clears others: its class lets go of
 * it instead. */
static PyType_Slot twin_slots[] = {
    {Py_tp_call, PyVectorcall_Call}, {Py_tp_descr_get, twin_bind},
    {Py_tp_getattro, twin_getattr},  {Py_tp_repr, twin_repr},
    {Py_tp_setattro, twin_setattr},  {Py_tp_methods, twin_methods},
    {Py_tp_getset, twin_getset},     {Py_tp_members, twin_members},
    {Py_tp_traverse, twin_traverse}, {Py_tp_dealloc, twin_dealloc},
    {0, NULL},
};
static PyType_Spec twin_spec = {
    "rate_limiter._core.Twin", sizeof(Twin), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
        Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    twin_slots,
};

/* ------------------------------------------------------------------ limited functions */

/* What is added to the wrapper of a function. Its objects are members of the type, so that Python
 * visits and releases them as it does slots. */
typedef struct {
    vectorcallfunc call;
    const State *state;
    PyObject *module, *function, *slow; /* `slow` is called, with all arguments, to pay and to call */
    PyObject *quick;                    /* pays if it can at once, and tells whether it did */
    PyObject *bucket, *tokens;          /* what `quick` asks, if it is `allow` of a known bucket */
    PyObject *key, *limiters, *pay;     /* for calls that are limited by a key */
} Limited;

static inline Limited *limited_of(PyObject *wrapper) {
    return (Limited *)((char *)wrapper + Py_TYPE(wrapper)->tp_base->tp_basicsize);
}

static int ask(PyObject *quick) {
    PyObject *answer = PyObject_CallNoArgs(quick);
    int paid = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return paid < 0 ? FAILED : paid ? TAKEN : REFUSED;
}

/* Look up the limiter of a key in use, as KeyedRateLimiter does: borrowed, or NULL if Python has to or
 * after an error. Both keys are plain, so comparing them runs nothing. */
static PyObject *find_limiter(const State *state, PyObject *entries, PyObject *key) {
    PyObject *number, *entry, *known, *limiter;
    int same;
    if (entries == NULL || !PyDict_CheckExact(entries) || PyDict_GET_SIZE(entries) == 0) {
        return NULL;
    }
    number = PyLong_FromSsize_t(PyObject_Hash(key));
    entry = number == NULL ? NULL : PyDict_GetItemWithError(entries, number);
    Py_XDECREF(number);
    if (entry == NULL || !is_plainly(entry, &state->layouts[ENTRY])) {
        return NULL;
    }
    known = FIELD(entry, &state->layouts[ENTRY], E_KEY);
    limiter = FIELD(entry, &state->layouts[ENTRY], E_LIMITER);
    if (known == NULL || limiter == NULL || !is_plain(state, known) ||
        !is_plainly(limiter, &state->layouts[LIMITER])) {
        return NULL;
    }
    same = PyObject_RichCompareBool(known, key, Py_EQ);
    return same == 1 ? limiter : NULL;
}

/* Take tokens of a key that is in use and plain. */
static int take_in_use(const Limited *limited, PyObject *keys, PyObject *key) {
    const State *state = limited->state;
    PyObject *entries = FIELD(keys, &state->layouts[RESTING], R_IN_USE);
    PyObject *limiter = find_limiter(state, entries, key);
    int outcome;
    if (limiter == NULL) {
        return PyErr_Occurred() ? FAILED : REFUSED;
    }
    Py_INCREF(limiter);
    outcome = take_fast(state, limiter, limited->tokens, NULL);
    Py_DECREF(limiter);
    return outcome == UNSURE ? REFUSED : outcome == REFUSED ? ASKED : outcome;
}

/* KeyedRateLimiter._take_at_rest, and the key in use. REFUSED says that Python has to go on with the
 * latter, ASKED that its bucket has refused, and UNSURE that Python has to begin with the former. */
static int take_by_key(const Limited *limited, PyObject *keys, PyObject *key) {
    const State *state = limited->state;
    int outcome;
    if (!is_plainly(keys, &state->layouts[RESTING]) ||
        !as_known(keys, &state->layouts[RESTING]) || !is_plain(state, key)) {
        return UNSURE;
    }
    outcome = take_at_rest(state, keys, key, limited->tokens);
    return outcome == REFUSED ? take_in_use(limited, keys, key) : outcome;
}

/* Have other keys looked at, because one was added. */
static int tend(const Limited *limited, PyObject *key) {
    PyObject *done = PyObject_CallMethodOneArg(limited->limiters, limited->state->str_tend, key);
    Py_XDECREF(done);
    return done == NULL ? FAILED : TAKEN;
}

static int try_by_key(const Limited *limited, PyObject *key) {
    const Layout *layout = &limited->state->layouts[KEYED];
    PyObject *keys;
    int outcome;
    if (!is_plainly(limited->limiters, layout) || !as_known(limited->limiters, layout)) {
        return UNSURE;
    }
    keys = PyObject_GetAttr(limited->limiters, limited->state->str_keys);
    if (keys == NULL) { /* half made, of which Python tells */
        PyErr_Clear();
        return UNSURE;
    }
    outcome = take_by_key(limited, keys, key);
    Py_DECREF(keys);
    return outcome == ADDED ? tend(limited, key) : outcome;
}

/* Pay for a call that is limited by a key: TAKEN or FAILED. */
static int pay_by_key(const Limited *limited, PyObject *const *args, size_t nargsf,
                      PyObject *names) {
    PyObject *key = PyObject_Vectorcall(limited->key, args, nargsf, names), *paid;
    int outcome = key == NULL ? FAILED : try_by_key(limited, key);
    if (outcome == UNSURE || outcome == REFUSED || outcome == ASKED) {
        paid = PyObject_CallFunctionObjArgs(limited->pay, key,
                                            outcome == UNSURE ? Py_True : Py_False,
                                            outcome == ASKED ? Py_True : Py_False, NULL);
        outcome = paid == NULL ? FAILED : TAKEN;
        Py_XDECREF(paid);
    }
    Py_XDECREF(key);
    return outcome;
}

static PyObject *limited_call(PyObject *wrapper, PyObject *const *args, size_t nargsf,
                              PyObject *names) {
    const Limited *limited = limited_of(wrapper);
    int outcome = UNSURE;
    if (limited->module == NULL) { /* the first that the collector takes from what is to go */
        PyErr_SetString(PyExc_RuntimeError, "this function is being collected");
        return NULL;
    }
    if (limited->bucket != NULL) {
        outcome = take(limited->state, limited->bucket, limited->tokens, NULL);
    }
    if (outcome == UNSURE && limited->quick != NULL) {
        outcome = ask(limited->quick);
    }
    if (outcome == UNSURE && limited->key != NULL) {
        outcome = pay_by_key(limited, args, nargsf, names);
    }
    if (outcome == FAILED) {
        return NULL;
    }
    return PyObject_Vectorcall(outcome == TAKEN ? limited->function : limited->slow, args, nargsf,
                               names);
}

/* Binding it is binding a function; see _FunctionWrapper.__get__. */
static PyObject *limited_bind(PyObject *wrapper, PyObject *instance, PyObject *Py_UNUSED(owner)) {
    return instance == NULL ? Py_NewRef(wrapper) : PyMethod_New(wrapper, instance);
}

/* Return the bucket whose `allow` this is, borrowed; NULL if it is anything else. */
static PyObject *bucket_of(const State *state, PyObject *method) {
    PyObject *twin = PyMethod_Check(method) ? PyMethod_GET_FUNCTION(method) : NULL;
    if (twin != NULL && Py_IS_TYPE(twin, state->twin_type) &&
        ((Twin *)twin)->call == bucket_allow &&
        is_a(PyMethod_GET_SELF(method), &state->layouts[BUCKET])) {
        return PyMethod_GET_SELF(method);
    }
    return NULL;
}

/* Note what `quick` asks: `bucket.allow` or `partial(bucket.allow, tokens)`. -1 after an error. */
static int note_bucket(const State *state, Limited *limited) {
    PyObject *bucket = bucket_of(state, limited->quick), *tokens = state->one;
    PyObject *method = NULL, *args = NULL, *named = NULL;
    if (bucket == NULL && strcmp(Py_TYPE(limited->quick)->tp_name, "functools.partial") == 0) {
        method = PyObject_GetAttrString(limited->quick, "func");
        args = PyObject_GetAttrString(limited->quick, "args");
        named = PyObject_GetAttrString(limited->quick, "keywords");
        if (method != NULL && args != NULL && named != NULL && PyTuple_CheckExact(args) &&
            PyTuple_GET_SIZE(args) == 1 && PyDict_CheckExact(named) &&
            PyDict_GET_SIZE(named) == 0) {
            bucket = bucket_of(state, method);
            tokens = PyTuple_GET_ITEM(args, 0);
        }
    }
    if (bucket != NULL) {
        Py_XSETREF(limited->bucket, Py_NewRef(bucket));
        Py_XSETREF(limited->tokens, Py_NewRef(tokens));
    }
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(named);
    return PyErr_Occurred() ? -1 : 0;
}

#define MEMBER(field) \
    {"_core_" #field, T_OBJECT_EX, base->tp_basicsize + (Py_ssize_t)offsetof(Limited, field), 0, NULL}

static PyObject *module_function_wrapper(PyObject *module, PyObject *python) {
    PyTypeObject *base = (PyTypeObject *)python;
    PyObject *bases, *type;
    int index;
    if (!PyType_Check(python)) {
        PyErr_SetString(PyExc_TypeError, "the wrapper of functions must be a class");
        return NULL;
    }
    PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET,
         base->tp_basicsize + (Py_ssize_t)offsetof(Limited, call), READONLY, NULL},
        MEMBER(module), MEMBER(function), MEMBER(slow), MEMBER(quick), MEMBER(bucket),
        MEMBER(tokens), MEMBER(key), MEMBER(limiters), MEMBER(pay),
        {NULL, 0, 0, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_call, PyVectorcall_Call},
        {Py_tp_descr_get, limited_bind},
        {Py_tp_members, members},
        {0, NULL},
    };
    PyType_Spec spec = {
        "rate_limiter._core.FunctionWrapper",
        (int)(base->tp_basicsize + (Py_ssize_t)sizeof(Limited)), 0,
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR, slots,
    };
    bases = PyTuple_Pack(1, python);
    type = bases == NULL ? NULL : PyType_FromModuleAndSpec(module, &spec, bases);
    Py_XDECREF(bases);
    /* Only the collector is to reach them: it goes by the members of the type, not by their names. */
    for (index = 1; type != NULL && members[index].name != NULL; index++) {
        if (PyObject_DelAttrString(type, members[index].name) < 0) {
            Py_CLEAR(type);
        }
    }
    return type;
}

static PyObject *module_set_call(PyObject *module, PyObject *args) {
    PyObject *wrapper, *function, *slow, *quick, *key = NULL, *limiters, *tokens, *pay;
    Limited *limited;
    if (!PyArg_ParseTuple(args, "OOOO|(OOOO)", &wrapper, &function, &slow, &quick, &key, &limiters,
                          &tokens, &pay)) {
        return NULL;
    }
    if (Py_TYPE(wrapper)->tp_descr_get != limited_bind) {
        PyErr_SetString(PyExc_TypeError, "only what function_wrapper() made can be given a call");
        return NULL;
    }
    limited = limited_of(wrapper);
    limited->state = PyModule_GetState(module);
    limited->call = limited_call;
    Py_XSETREF(limited->module, Py_NewRef(module));
    Py_XSETREF(limited->function, Py_NewRef(function));
    Py_XSETREF(limited->slow, Py_NewRef(slow));
    if (key != NULL) {
        Py_XSETREF(limited->key, Py_NewRef(key));
        Py_XSETREF(limited->limiters, Py_NewRef(limiters));
        Py_XSETREF(limited->tokens, Py_NewRef(tokens));
        Py_XSETREF(limited->pay, Py_NewRef(pay));
    }
    if (quick != Py_None) {
        Py_XSETREF(limited->quick, Py_NewRef(quick));
        if (note_bucket(limited->state, limited) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ the module */

static Twin *twin_new(PyObject *module, vectorcallfunc call, PyObject *python) {
    State *state = PyModule_GetState(module);
    Twin *twin = (Twin *)state->twin_type->tp_alloc(state->twin_type, 0);
    if (twin != NULL) {
        twin->call = call;
        twin->state = state;
        twin->module = Py_NewRef(module);
        twin->python = Py_NewRef(python);
    }
    return twin;
}

static PyObject *module_twin(PyObject *module, PyObject *args) {
    const char *name;
    PyObject *python;
    size_t index;
    Twin *twin;
    if (!PyArg_ParseTuple(args, "sO", &name, &python)) {
        return NULL;
    }
    for (index = 0; index < Py_ARRAY_LENGTH(twins); index++) {
        if (strcmp(twins[index].name, name) == 0) {
            twin = twin_new(module, twins[index].call, python);
            return (PyObject *)twin;
        }
    }
    return PyErr_Format(PyExc_LookupError, "there is no compiled twin named %s", name);
}

/* Return the place of a slot in the instances of a class, or -1 after an error. */
static Py_ssize_t place_of(PyTypeObject *type, const char *name) {
    PyObject *slot = PyObject_GetAttrString((PyObject *)type, name);
    Py_ssize_t place = -1;
    if (slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        place = ((PyMemberDescrObject *)slot)->d_member->offset;
    } else if (slot != NULL) {
        PyErr_Format(PyExc_TypeError, "%s.%s must be a slot", type->tp_name, name);
    }
    Py_XDECREF(slot);
    return place;
}

static void forget(Layout *layout) {
    int index;
    Py_CLEAR(layout->type);
    for (index = 0; index < MOST_METHODS; index++) {
        Py_CLEAR(layout->methods[index]);
        Py_CLEAR(layout->names[index]);
    }
    for (index = 0; index < MOST_MARKS; index++) {
        Py_CLEAR(layout->marks[index]);
    }
}

/* Read a class as a kind says: 0, or -1 after an error. */
static int read_layout(const Kind *kind, PyTypeObject *type, Layout *layout) {
    int slot, index;
    layout->type = (PyTypeObject *)Py_NewRef(type);
    for (slot = 0; slot < MOST_SLOTS && kind->slots[slot] != NULL; slot++) {
        layout->at[slot] = place_of(type, kind->slots[slot]);
        if (layout->at[slot] < 0) {
            return -1;
        }
    }
    for (index = 0; index < MOST_METHODS && kind->methods[index] != NULL; index++) {
        layout->names[index] = PyUnicode_InternFromString(kind->methods[index]);
        if (layout->names[index] == NULL) {
            return -1;
        }
        layout->methods[index] = Py_XNewRef(_PyType_Lookup(type, layout->names[index]));
        if (layout->methods[index] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s has no %s", type->tp_name, kind->methods[index]);
            return -1;
        }
    }
    return 0;
}

static PyObject *module_layout(PyObject *module, PyObject *args) {
    State *state = PyModule_GetState(module);
    const char *name;
    PyTypeObject *type;
    Layout layout = {0};
    int kind;
    if (!PyArg_ParseTuple(args, "sO!|OO", &name, &PyType_Type, &type, &layout.marks[0],
                          &layout.marks[1])) {
        return NULL;
    }
    Py_XINCREF(layout.marks[0]);
    Py_XINCREF(layout.marks[1]);
    for (kind = 0; kind < KINDS && strcmp(kinds[kind].name, name) != 0; kind++) {
    }
    if (kind == KINDS) {
        PyErr_Format(PyExc_LookupError, "there is no layout named %s", name);
    }
    if (kind == KINDS || read_layout(&kinds[kind], type, &layout) < 0) {
        forget(&layout);
        return NULL;
    }
    forget(&state->layouts[kind]);
    state->layouts[kind] = layout;
    return Py_NewRef(type);
}

static PyObject *module_watch(PyObject *module, PyObject *journal) {
    State *state = PyModule_GetState(module);
    if (!is_plainly(journal, &state->layouts[JOURNAL])) {
        PyErr_SetString(PyExc_TypeError, "the journal must be of the class whose layout is known");
        return NULL;
    }
    Py_XSETREF(state->journal, Py_NewRef(journal));
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"twin", module_twin, METH_VARARGS,
     PyDoc_STR("Return the compiled twin of this name, which hands over to a Python function.")},
    {"layout", module_layout, METH_VARARGS,
     PyDoc_STR("Note where the instances of a class have their slots, and return it.")},
    {"function_wrapper", module_function_wrapper, METH_O,
     PyDoc_STR("Return a type derived from a wrapper of functions, whose calls are compiled.")},
    {"set_call", module_set_call, METH_VARARGS,
     PyDoc_STR("Say what such a wrapper calls.")},
    {"watch", module_watch, METH_O,
     PyDoc_STR("Keep away while this journal says that a step is under way.")},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **kept) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    int failed = type == NULL || PyModule_AddType(module, type) < 0;
    if (kept != NULL && !failed) {
        *kept = (PyTypeObject *)Py_NewRef(type);
    }
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

/* Tell whether a function is a module's own, and not one that a library has put in its place. */
static int is_own(PyObject *function, PyObject *module, const char *name) {
    return PyCFunction_CheckExact(function) && PyCFunction_GET_SELF(function) == module &&
           strcmp(((PyCFunctionObject *)function)->m_ml->ml_name, name) == 0;
}

static int remember_names(State *state) {
    PyObject *time = PyImport_ImportModule("time");
    if (time != NULL) {
        state->monotonic_ns = PyObject_GetAttrString(time, "monotonic_ns");
        if (state->monotonic_ns != NULL && !is_own(state->monotonic_ns, time, "monotonic_ns")) {
            Py_SETREF(state->monotonic_ns, Py_NewRef(Py_None)); /* no clock is that */
        }
        Py_DECREF(time);
    }
    state->one = PyLong_FromLong(1);
    state->str_cost = PyUnicode_InternFromString("cost");
    state->str_unit = PyUnicode_InternFromString("unit");
    state->str_scale = PyUnicode_InternFromString("scale");
    state->str_span = PyUnicode_InternFromString("span");
    state->str_keys = PyUnicode_InternFromString("_keys");
    state->str_tend = PyUnicode_InternFromString("_tend");
    state->str_warn = PyUnicode_InternFromString("_warn_of_disuse");
    return state->monotonic_ns && state->one && state->str_cost && state->str_unit &&
                   state->str_scale && state->str_span && state->str_keys && state->str_tend &&
                   state->str_warn
               ? 0
               : -1;
}

static int read_flags(State *state) {
    PyObject *flags = PySys_GetObject("flags"); /* borrowed */
    PyObject *flag = flags == NULL ? NULL : PyObject_GetAttrString(flags, "bytes_warning");
    state->bytes_warning = flag == NULL ? -1 : PyObject_IsTrue(flag);
    Py_XDECREF(flag);
    return state->bytes_warning < 0 ? -1 : 0;
}

static int module_exec(PyObject *module) {
    State *state = PyModule_GetState(module);
    if (remember_names(state) < 0 || read_flags(state) < 0 || add_type(module, &limit_spec, NULL) < 0 ||
        add_type(module, &ledger_spec, NULL) < 0 || add_type(module, &permit_spec, NULL) < 0 ||
        add_type(module, &moment_spec, &state->moment_type) < 0 ||
        add_type(module, &twin_spec, &state->twin_type) < 0) {
        return -1;
    }
    if (PyModule_AddIntConstant(module, "INTERFACE", 4) < 0) { /* as in core.py */
        return -1;
    }
    return PyModule_AddIntConstant(module, "SOURCE", SOURCE);
}

#define ALL_OF(state, act) \
    act((state)->journal); \
    act((state)->monotonic_ns); \
    act((state)->one); \
    act((state)->str_cost); \
    act((state)->str_unit); \
    act((state)->str_scale); \
    act((state)->str_span); \
    act((state)->str_keys); \
    act((state)->str_tend); \
    act((state)->str_warn); \
    act((state)->twin_type); \
    act((state)->moment_type)

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    int kind, index;
    for (kind = 0; kind < KINDS; kind++) {
        Py_VISIT(state->layouts[kind].type);
        for (index = 0; index < MOST_METHODS; index++) {
            Py_VISIT(state->layouts[kind].methods[index]);
        }
    }
    ALL_OF(state, Py_VISIT);
    return 0;
}

static int module_clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        forget(&state->layouts[kind]);
    }
    ALL_OF(state, Py_CLEAR);
    return 0;
}

static void module_free(void *module) {
    (void)module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rate_limiter._core",
    .m_doc = PyDoc_STR("The compiled twins of the hottest calls; see core.py."),
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

/* As `BasePermit.__del__`, which stands for it where Python serves. */
static void permit_finalize(PyObject *self) {
    PermitFields *permit = (PermitFields *)self;
    const State *state = permit->core;
    PyObject *kind, *error, *traceback, *result;
    PyErr_Fetch(&kind, &error, &traceback);
    if (state == NULL) {
        PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &module_def);
        state = module == NULL ? NULL : PyModule_GetState(module);
        PyErr_Clear();
    }
    if (state != NULL && permit->state != NULL &&
        permit->state == state->layouts[PERMIT].marks[NEW]) {
        result = PyObject_CallMethodNoArgs(self, state->str_warn);
        if (result == NULL) {
            PyErr_WriteUnraisable(self);
        }
        Py_XDECREF(result);
    }
    PyErr_Restore(kind, error, traceback);
}

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&module_def);
}
