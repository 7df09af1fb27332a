/* A disk that fails, for LD_PRELOAD. From call number FAIL_AT on, FAIL_FOR calls (0: all of them) that write to a file below the
 * folder FAIL_UNDER end with FAIL_ERRNO instead: opening to create, write, fsync, rename, mkdir, unlink; with FAIL_READS those that
 * read, too. The variables are read at each call, so a program may set them as it runs; failing_calls() says how many calls there
 * were. */
#include "preload.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int calls;

int failing_calls(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int fails(const char *path) {
    const char *under = getenv("FAIL_UNDER");
    if (!under || !path || strncmp(path, under, strlen(under)) != 0) return 0;
    int call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST), at = number("FAIL_AT"), many = number("FAIL_FOR");
    if (!at || call < at || (many && call >= at + many)) return 0;
    errno = number("FAIL_ERRNO");
    return 1;
}

static int reads(void) { return getenv("FAIL_READS") != NULL; }

static int handle_fails(int handle) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}

OPEN(open, ((flags & O_CREAT) || reads()) && fails(path))
OPEN(open64, ((flags & O_CREAT) || reads()) && fails(path))

ssize_t write(int handle, const void *data, size_t size) {
    return handle_fails(handle) ? -1 : REAL(ssize_t, "write", int, const void *, size_t)(handle, data, size);
}
int fsync(int handle) { return handle_fails(handle) ? -1 : REAL(int, "fsync", int)(handle); }
int rename(const char *from, const char *to) {
    return fails(to) ? -1 : REAL(int, "rename", const char *, const char *)(from, to);
}
int mkdir(const char *path, mode_t mode) { return fails(path) ? -1 : REAL(int, "mkdir", const char *, mode_t)(path, mode); }
int unlink(const char *path) { return fails(path) ? -1 : REAL(int, "unlink", const char *)(path); }

DIR *opendir(const char *path) { return reads() && fails(path) ? NULL : REAL(DIR *, "opendir", const char *)(path); }
ssize_t read(int handle, void *data, size_t size) {
    return reads() && handle_fails(handle) ? -1 : REAL(ssize_t, "read", int, void *, size_t)(handle, data, size);
}

#define ASK(name, type)                                                                                     \
    int name(const char *path, struct type *about) {                                                        \
        return reads() && fails(path) ? -1 : REAL(int, #name, const char *, struct type *)(path, about);    \
    }
ASK(stat, stat)
ASK(lstat, stat)
ASK(stat64, stat64)
ASK(lstat64, stat64)
