#include <trunkline/amqp/codec.h>

/* ---- types ---- */

enum amqp_type amqp_type_of(uint8_t code)
{
    static const uint8_t types[256] = {[AMQP_CODE_DESCRIBED] = AMQP_TYPE_DESCRIBED,
#define X(name, type, code) [code] = AMQP_TYPE_##type,
                                       AMQP_ENCODINGS(X)
#undef X
    };
    return types[code];
}

const char *amqp_type_name(enum amqp_type t)
{
    static const char *const names[] = {[AMQP_TYPE_INVALID] = "invalid",
#define X(name, text) [AMQP_TYPE_##name] = text,
                                        AMQP_TYPES(X)
#undef X
    };
    return names[t];
}

/* Categories, by the code's high four bits. */
static bool is_fixed(uint8_t code)
{
    return code >= 0x40 && code < 0xa0;
}
static bool is_variable(uint8_t code)
{
    return code >= 0xa0 && code < 0xc0;
}
/* Width of what a fixed code announces, or of the size (and count) of the others. */
static size_t width_of(uint8_t code)
{
    static const uint8_t widths[16] = {[0x5] = 1, [0x6] = 2, [0x7] = 4, [0x8] = 8, [0x9] = 16, [0xa] = 1,
                                       [0xb] = 4, [0xc] = 1, [0xd] = 4, [0xe] = 1, [0xf] = 4};
    return widths[code >> 4];
}

/* ---- reading ---- */

/* The octets of a value of fixed width with this code. */
static enum err read_fixed(struct amqp_reader *r, uint8_t code, const uint8_t **v)
{
    size_t width = width_of(code);
    if (r->at == r->end)
        return ERR_TRUNCATED;
    if (r->at[0] != code)
        return ERR_INVALID;
    if (amqp_left(r) < 1 + width)
        return ERR_TRUNCATED;
    *v = r->at + 1;
    r->at += 1 + width;
    return OK;
}

enum err amqp_read_byte(struct amqp_reader *r, int8_t *v)
{
    const uint8_t *p;
    enum err e = read_fixed(r, AMQP_CODE_BYTE, &p);
    if (e == OK)
        *v = (int8_t)p[0];
    return e;
}

enum err amqp_read_short(struct amqp_reader *r, int16_t *v)
{
    const uint8_t *p;
    enum err e = read_fixed(r, AMQP_CODE_SHORT, &p);
    if (e == OK)
        *v = (int16_t)amqp_get16(p);
    return e;
}

enum err amqp_read_int(struct amqp_reader *r, int32_t *v)
{
    const uint8_t *p;
    bool small = amqp_peek(r) == AMQP_CODE_SMALLINT;
    enum err e = read_fixed(r, small ? AMQP_CODE_SMALLINT : AMQP_CODE_INT, &p);
    if (e == OK)
        *v = small ? (int8_t)p[0] : (int32_t)amqp_get32(p);
    return e;
}

enum err amqp_read_long(struct amqp_reader *r, int64_t *v)
{
    const uint8_t *p;
    bool small = amqp_peek(r) == AMQP_CODE_SMALLLONG;
    enum err e = read_fixed(r, small ? AMQP_CODE_SMALLLONG : AMQP_CODE_LONG, &p);
    if (e == OK)
        *v = small ? (int8_t)p[0] : (int64_t)amqp_get64(p);
    return e;
}

enum err amqp_read_float(struct amqp_reader *r, float *v)
{
    const uint8_t *p;
    enum err e = read_fixed(r, AMQP_CODE_FLOAT, &p);
    if (e == OK) {
        uint32_t bits = amqp_get32(p);
        memcpy(v, &bits, sizeof *v);
    }
    return e;
}

enum err amqp_read_double(struct amqp_reader *r, double *v)
{
    const uint8_t *p;
    enum err e = read_fixed(r, AMQP_CODE_DOUBLE, &p);
    if (e == OK) {
        uint64_t bits = amqp_get64(p);
        memcpy(v, &bits, sizeof *v);
    }
    return e;
}

enum err amqp_read_char(struct amqp_reader *r, uint32_t *v)
{
    struct amqp_reader copy = *r;
    const uint8_t *p;
    enum err e = read_fixed(&copy, AMQP_CODE_CHAR, &p);
    if (e != OK)
        return e;
    uint32_t c = amqp_get32(p);
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return ERR_INVALID;
    *r = copy;
    *v = c;
    return OK;
}

enum err amqp_read_timestamp(struct amqp_reader *r, int64_t *v)
{
    const uint8_t *p;
    enum err e = read_fixed(r, AMQP_CODE_TIMESTAMP, &p);
    if (e == OK)
        *v = (int64_t)amqp_get64(p);
    return e;
}

enum err amqp_read_uuid(struct amqp_reader *r, const uint8_t **v)
{
    return read_fixed(r, AMQP_CODE_UUID, v);
}

static enum err read_small_integer(struct amqp_reader *r, enum amqp_type type, int64_t *v)
{
    enum err e;
    switch (type) {
    case AMQP_TYPE_UBYTE: {
        uint8_t n = 0;
        e = amqp_read_ubyte(r, &n);
        *v = n;
        return e;
    }
    case AMQP_TYPE_USHORT: {
        uint16_t n = 0;
        e = amqp_read_ushort(r, &n);
        *v = n;
        return e;
    }
    case AMQP_TYPE_BYTE: {
        int8_t n = 0;
        e = amqp_read_byte(r, &n);
        *v = n;
        return e;
    }
    default: {
        int16_t n = 0;
        e = amqp_read_short(r, &n);
        *v = n;
        return e;
    }
    }
}

enum err amqp_read_integer(struct amqp_reader *r, int64_t *v)
{
    if (r->at == r->end)
        return ERR_TRUNCATED;
    struct amqp_reader copy = *r;
    int64_t n = 0;
    enum err e;
    enum amqp_type type = amqp_type_of(r->at[0]);
    switch (type) {
    case AMQP_TYPE_UBYTE:
    case AMQP_TYPE_USHORT:
    case AMQP_TYPE_BYTE:
    case AMQP_TYPE_SHORT:
        e = read_small_integer(&copy, type, &n);
        break;
    case AMQP_TYPE_UINT: {
        uint32_t u = 0;
        e = amqp_read_uint(&copy, &u);
        n = u;
        break;
    }
    case AMQP_TYPE_ULONG: {
        uint64_t u = 0;
        e = amqp_read_ulong(&copy, &u);
        if (e == OK && u > INT64_MAX)
            return ERR_INVALID;
        n = (int64_t)u;
        break;
    }
    case AMQP_TYPE_INT: {
        int32_t i = 0;
        e = amqp_read_int(&copy, &i);
        n = i;
        break;
    }
    case AMQP_TYPE_LONG:
        e = amqp_read_long(&copy, &n);
        break;
    default:
        return ERR_INVALID;
    }
    if (e != OK)
        return e;
    *r = copy;
    *v = n;
    return OK;
}

enum err amqp_read_text(struct amqp_reader *r, struct slice *v)
{
    if (r->at != r->end && amqp_type_of(r->at[0]) == AMQP_TYPE_SYMBOL)
        return amqp_read_symbol(r, v);
    return amqp_read_string(r, v);
}

/* Step over the content of a value of the given code; the code itself is behind us (or, in an array, at its head). */
static enum err skip_content(struct amqp_reader *r, uint8_t code)
{
    if (amqp_type_of(code) == AMQP_TYPE_INVALID)
        return ERR_INVALID;
    size_t n = width_of(code);
    if (!is_fixed(code)) {
        if (amqp_left(r) < n)
            return ERR_TRUNCATED;
        size_t size = n == 1 ? r->at[0] : amqp_get32(r->at);
        n += size;
    }
    if (amqp_left(r) < n)
        return ERR_TRUNCATED;
    r->at += n;
    return OK;
}

enum err amqp_skip(struct amqp_reader *r)
{
    struct amqp_reader copy = *r;
    /* A described value is two values more; their descriptors may be described again. Values that are still to come
     * count the descriptors we are in. */
    for (size_t pending = 1; pending; pending--) {
        if (copy.at == copy.end)
            return ERR_TRUNCATED;
        uint8_t code = *copy.at++;
        if (code == AMQP_CODE_DESCRIBED) {
            if (pending > AMQP_DEPTH_MAX)
                return ERR_INVALID;
            pending += 2;
            continue;
        }
        enum err e = skip_content(&copy, code);
        if (e != OK)
            return e;
    }
    *r = copy;
    return OK;
}

static enum err check_value(struct amqp_reader *r, unsigned depth);

/* Inside something whose size is known to lie in the range, "too short" means that sizes contradict each other. */
static enum err inner(enum err e)
{
    return e == OK ? OK : ERR_INVALID;
}

static enum err check_compound(struct amqp_reader *r, uint8_t code, unsigned depth)
{
    /* The readers want the code, which lies just before: in an array it does not, so the head is read here. */
    size_t width = width_of(code);
    if (amqp_left(r) < width)
        return ERR_TRUNCATED;
    size_t size = width == 1 ? r->at[0] : amqp_get32(r->at);
    if (size < width)
        return ERR_INVALID;
    if (amqp_left(r) - width < size)
        return ERR_TRUNCATED;
    uint32_t count = width == 1 ? r->at[1] : amqp_get32(r->at + 4);
    struct amqp_reader in = {r->at + 2 * width, r->at + width + size};
    if (count > amqp_left(&in) || (amqp_type_of(code) == AMQP_TYPE_MAP && count % 2))
        return ERR_INVALID;
    for (uint32_t i = 0; i < count; i++)
        if (check_value(&in, depth + 1) != OK)
            return ERR_INVALID;
    if (in.at != in.end)
        return ERR_INVALID;
    r->at = in.end;
    return OK;
}

static enum err check_content(struct amqp_reader *r, uint8_t code, unsigned depth);

/* The range begins at an array's size. */
static enum err enter_array_content(struct amqp_reader *r, uint8_t code, struct amqp_array *a)
{
    size_t width = width_of(code);
    if (amqp_left(r) < width)
        return ERR_TRUNCATED;
    size_t size = width == 1 ? r->at[0] : amqp_get32(r->at);
    if (size < width)
        return ERR_INVALID;
    if (amqp_left(r) - width < size)
        return ERR_TRUNCATED;
    uint32_t count = width == 1 ? r->at[1] : amqp_get32(r->at + 4);
    struct amqp_reader in = {r->at + 2 * width, r->at + width + size};
    const uint8_t *end = in.end;

    struct slice descriptor = {NULL, in.at, 0};
    if (amqp_peek(&in) == AMQP_CODE_DESCRIBED) {
        in.at++;
        descriptor.data = in.at;
        if (amqp_skip(&in) != OK)
            return ERR_INVALID;
        descriptor.len = (size_t)(in.at - descriptor.data);
    }
    int element = amqp_peek(&in);
    if (element <= 0 || amqp_type_of((uint8_t)element) == AMQP_TYPE_INVALID)
        return ERR_INVALID;
    in.at++;
    size_t element_width = width_of((uint8_t)element);
    if (is_fixed((uint8_t)element)) {
        if (amqp_left(&in) != (uint64_t)element_width * count)
            return ERR_INVALID;
    } else if (amqp_left(&in) < (uint64_t)element_width * count) {
        return ERR_INVALID;
    }
    *a = (struct amqp_array){in, descriptor, (uint8_t)element, count};
    r->at = end;
    return OK;
}

static enum err check_array(struct amqp_reader *r, uint8_t code, unsigned depth)
{
    struct amqp_reader copy = *r;
    struct amqp_array a;
    enum err e = enter_array_content(&copy, code, &a);
    if (e != OK)
        return e;
    if (a.descriptor.len) {
        struct amqp_reader d = amqp_slice_reader(a.descriptor);
        if (check_value(&d, depth + 1) != OK)
            return ERR_INVALID;
    }
    /* Of fixed width: seen to fit, and there may be four thousand million of no width at all. */
    if (!is_fixed(a.code)) {
        for (uint32_t i = 0; i < a.count; i++)
            if (check_content(&a.in, a.code, depth + 1) != OK)
                return ERR_INVALID;
        if (a.in.at != a.in.end)
            return ERR_INVALID;
    }
    *r = copy;
    return OK;
}

/* What follows a code that is not "described". */
static enum err check_content(struct amqp_reader *r, uint8_t code, unsigned depth)
{
    if (depth > AMQP_DEPTH_MAX)
        return ERR_INVALID;
    switch (amqp_type_of(code)) {
    case AMQP_TYPE_LIST:
        return code == AMQP_CODE_LIST0 ? OK : check_compound(r, code, depth);
    case AMQP_TYPE_MAP:
        return check_compound(r, code, depth);
    case AMQP_TYPE_ARRAY:
        return check_array(r, code, depth);
    case AMQP_TYPE_BOOLEAN:
        if (code == AMQP_CODE_BOOLEAN && r->at != r->end && *r->at > 1)
            return ERR_INVALID;
        return skip_content(r, code);
    default:
        return skip_content(r, code);
    }
}

static enum err check_value(struct amqp_reader *r, unsigned depth)
{
    if (depth > AMQP_DEPTH_MAX)
        return ERR_INVALID;
    if (r->at == r->end)
        return ERR_TRUNCATED;
    uint8_t code = *r->at++;
    if (code != AMQP_CODE_DESCRIBED)
        return check_content(r, code, depth);
    enum err e = check_value(r, depth + 1);
    return e == OK ? check_value(r, depth + 1) : e;
}

enum err amqp_check_inside(struct amqp_reader *r, unsigned depth)
{
    struct amqp_reader copy = *r;
    enum err e = check_value(&copy, depth);
    if (e == OK)
        *r = copy;
    return e;
}

enum err amqp_check(struct amqp_reader *r)
{
    return amqp_check_inside(r, 0);
}

enum err amqp_enter_array(struct amqp_reader *r, struct amqp_array *a)
{
    int code = amqp_peek(r);
    if (code < 0)
        return ERR_TRUNCATED;
    if (amqp_type_of((uint8_t)code) != AMQP_TYPE_ARRAY)
        return ERR_INVALID;
    struct amqp_reader copy = {r->at + 1, r->end};
    enum err e = enter_array_content(&copy, (uint8_t)code, a);
    if (e == OK)
        *r = copy;
    return e;
}

enum err amqp_array_next(struct amqp_array *a, struct slice *element)
{
    if (a->count == 0)
        return ERR_NOT_FOUND;
    const uint8_t *from = a->in.at;
    enum err e = inner(skip_content(&a->in, a->code));
    if (e != OK)
        return e;
    size_t head = is_variable(a->code) ? width_of(a->code) : 0;
    *element = (struct slice){NULL, from + head, (size_t)(a->in.at - from) - head};
    a->count--;
    return OK;
}

/* ---- described values ---- */

static uint64_t descriptor_of_symbol(struct slice symbol)
{
    static const struct {
        const char *symbol;
        uint64_t code;
    } table[] = {
#define X(name, code, symbol) {symbol, code},
        AMQP_DESCRIPTORS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (amqp_slice_is(symbol, table[i].symbol))
            return table[i].code;
    return AMQP_DESC_UNKNOWN;
}

enum err amqp_read_descriptor_slowly(struct amqp_reader *r, uint64_t *descriptor)
{
    if (r->at == r->end)
        return ERR_TRUNCATED;
    if (r->at[0] != AMQP_CODE_DESCRIBED)
        return ERR_INVALID;
    struct amqp_reader copy = {r->at + 1, r->end};
    enum err e;
    uint64_t code = AMQP_DESC_UNKNOWN;
    struct slice symbol;
    switch (copy.at == copy.end ? AMQP_TYPE_INVALID : amqp_type_of(copy.at[0])) {
    case AMQP_TYPE_ULONG:
        e = amqp_read_ulong(&copy, &code);
        break;
    case AMQP_TYPE_SYMBOL:
        e = amqp_read_symbol(&copy, &symbol);
        if (e == OK)
            code = descriptor_of_symbol(symbol);
        break;
    default:
        e = amqp_skip(&copy);
        break;
    }
    if (e != OK)
        return e;
    *r = copy;
    *descriptor = code;
    return OK;
}

/* ---- writing ---- */

void amqp_write_float(struct amqp_writer *w, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    amqp_write_code32(w, AMQP_CODE_FLOAT, bits);
}

void amqp_write_double(struct amqp_writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    amqp_write_code64(w, AMQP_CODE_DOUBLE, bits);
}

void amqp_write_uuid(struct amqp_writer *w, const uint8_t v[16])
{
    amqp_write_octet(w, AMQP_CODE_UUID);
    amqp_write_raw(w, v, 16);
}

/* Begin left room for the small head. A larger one moves the content up: rare, and never beyond what the end result
 * needs, so that memory of the measured size suffices at every step. */
void amqp_write_compound_end(struct amqp_writer *w, size_t mark, uint8_t code8, uint8_t code32, uint32_t count)
{
    size_t content = w->len - mark - 3;
    if (content == 0 && code8 == AMQP_CODE_LIST8) {
        w->len = mark;
        amqp_write_octet(w, AMQP_CODE_LIST0);
        return;
    }
    if (content <= 254 && count <= 255) {
        if (mark + 3 <= w->capacity) {
            w->base[mark] = code8;
            w->base[mark + 1] = (uint8_t)(content + 1);
            w->base[mark + 2] = (uint8_t)count;
        }
        return;
    }
    if (amqp_writer_room(w, 6)) {
        memmove(w->base + mark + 9, w->base + mark + 3, content);
        w->base[mark] = code32;
        amqp_put32(w->base + mark + 1, (uint32_t)(content + 4));
        amqp_put32(w->base + mark + 5, count);
    }
}

void amqp_write_symbols(struct amqp_writer *w, const char *const *symbols, bool bare)
{
    size_t count = 0, octets = 0, longest = 0;
    for (; symbols && symbols[count]; count++) {
        size_t n = strlen(symbols[count]);
        octets += n;
        longest = n > longest ? n : longest;
    }
    if (count == 0) {
        amqp_write_null(w);
        return;
    }
    if (count == 1 && bare) {
        amqp_write_symbol_of(w, symbols[0]);
        return;
    }
    bool small = longest <= 255;
    size_t content = 1 + octets + count * (small ? 1 : 4);
    if (content <= 254 && count <= 255) {
        amqp_write_octet2(w, AMQP_CODE_ARRAY8, (uint8_t)(content + 1));
        amqp_write_octet(w, (uint8_t)count);
    } else {
        amqp_write_code32(w, AMQP_CODE_ARRAY32, (uint32_t)(content + 4));
        uint8_t *p = amqp_writer_room(w, 4);
        if (p)
            amqp_put32(p, (uint32_t)count);
    }
    amqp_write_octet(w, small ? AMQP_CODE_SYM8 : AMQP_CODE_SYM32);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(symbols[i]);
        uint8_t *p = amqp_writer_room(w, small ? 1 : 4);
        if (p && small)
            p[0] = (uint8_t)n;
        else if (p)
            amqp_put32(p, (uint32_t)n);
        amqp_write_raw(w, symbols[i], n);
    }
}
