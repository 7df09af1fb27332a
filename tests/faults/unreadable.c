/* A bad place on the card, for LD_PRELOAD: opening a file whose path ends with UNREADABLE, to read it, ends with EIO; and so does
 * asking about one whose path ends with UNKNOWN. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int bad(const char *path, const char *name) {
    const char *end = getenv(name);
    if (!end || !path || strlen(path) < strlen(end) || strcmp(path + strlen(path) - strlen(end), end) != 0) return 0;
    errno = EIO;
    return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

#define OPEN(name)                                                                                      \
    int name(const char *path, int flags, ...) {                                                        \
        va_list more;                                                                                   \
        va_start(more, flags);                                                                          \
        mode_t mode = va_arg(more, mode_t);                                                             \
        va_end(more);                                                                                   \
        if (!(flags & O_CREAT) && bad(path, "UNREADABLE")) return -1;                                   \
        return REAL(int, #name, const char *, int, mode_t)(path, flags, mode);                          \
    }
OPEN(open)
OPEN(open64)

int lstat(const char *path, struct stat *about) {
    return bad(path, "UNKNOWN") ? -1 : REAL(int, "lstat", const char *, struct stat *)(path, about);
}
int lstat64(const char *path, struct stat64 *about) {
    return bad(path, "UNKNOWN") ? -1 : REAL(int, "lstat64", const char *, struct stat64 *)(path, about);
}
