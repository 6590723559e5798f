#include <trunkline/base/err.h>

static const char *const texts[] = {
#define X(name, text) [name] = text,
    ERR_TABLE(X)
#undef X
};

const char *err_text(enum err e)
{
    if ((unsigned)e >= sizeof texts / sizeof texts[0])
        return "unknown error";
    return texts[e];
}
