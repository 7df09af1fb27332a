/* A bad place on the card, for LD_PRELOAD: opening a file whose path ends with UNREADABLE, to read it, ends with EIO; and so does
 * asking about one whose path ends with UNKNOWN. */
#include "preload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *path, const char *name) {
    const char *end = getenv(name);
    if (!end || !path || strlen(path) < strlen(end) || strcmp(path + strlen(path) - strlen(end), end) != 0) return 0;
    errno = EIO;
    return 1;
}

OPEN(open, !(flags & O_CREAT) && bad(path, "UNREADABLE"))
OPEN(open64, !(flags & O_CREAT) && bad(path, "UNREADABLE"))

int lstat(const char *path, struct stat *about) {
    return bad(path, "UNKNOWN") ? -1 : REAL(int, "lstat", const char *, struct stat *)(path, about);
}
int lstat64(const char *path, struct stat64 *about) {
    return bad(path, "UNKNOWN") ? -1 : REAL(int, "lstat64", const char *, struct stat64 *)(path, about);
}
