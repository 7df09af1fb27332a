/* What the libraries here share that stand before the C library (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

/* open() and its like; REFUSED may look at `path` and `flags`, and sets errno where it is true. */
#define OPEN(name, REFUSED)                                                         \
    int name(const char *path, int flags, ...) {                                    \
        va_list more;                                                               \
        va_start(more, flags);                                                      \
        mode_t mode = va_arg(more, mode_t);                                         \
        va_end(more);                                                               \
        if (REFUSED) return -1;                                                     \
        return REAL(int, #name, const char *, int, mode_t)(path, flags, mode);      \
    }
