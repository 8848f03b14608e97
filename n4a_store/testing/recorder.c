/* Records every call that changes files below one folder: the data written, what was synced, and
 * the names made, moved and removed, in order. Loaded with LD_PRELOAD it sees Python's own calls
 * and those of SQLite alike.
 *
 * N4A_RECORD names the log, N4A_RECORD_ROOT the folder. A record is, little-endian,
 *
 *     u32 kind  u32 length of a  u32 length of b  u64 x  u64 y  a  b
 *
 * with kind one of: C create (a path, x inode), W write (x inode, y offset, a data), T truncate
 * (x inode, y size), F fsync (x inode), R rename (a to b), U unlink (a), L link (a to b), M mkdir
 * (a, x inode), D rmdir (a), N a note of the program under test (a).
 *
 * n4a_fail makes the n-th such call from now on fail with an error of choice, without being made.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FD 4096
static int log_fd = -1;
static char root[4096];
static size_t root_length;
static unsigned char tracked[MAX_FD];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long fail_in = -1;
static int fail_errno;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("N4A_RECORD"), *folder = getenv("N4A_RECORD_ROOT");
    if (!path || !folder || strlen(folder) >= sizeof root) return;
    strcpy(root, folder);
    root_length = strlen(root);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int inside(const char *path) {
    return log_fd >= 0 && path && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

static void put(const void *data, size_t length) {
    const char *at = data;
    while (length) {
        ssize_t done = syscall(SYS_write, log_fd, at, length);
        if (done <= 0) abort(); /* half a recording proves nothing */
        at += done;
        length -= (size_t)done;
    }
}

static void record(char kind, uint64_t x, uint64_t y, const void *a, size_t na, const void *b, size_t nb) {
    uint32_t head[3] = {(uint32_t)kind, (uint32_t)na, (uint32_t)nb};
    uint64_t numbers[2] = {x, y};
    pthread_mutex_lock(&mutex);
    put(head, sizeof head);
    put(numbers, sizeof numbers);
    put(a, na);
    put(b, nb);
    pthread_mutex_unlock(&mutex);
}

static void record_paths(char kind, uint64_t x, const char *a, const char *b) {
    record(kind, x, 0, a, strlen(a), b ? b : "", b ? strlen(b) : 0);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return stat(path, &found) ? 0 : (uint64_t)found.st_ino;
}

/* The inode behind a descriptor that was opened below the root, 0 for all others. */
static uint64_t inode_behind(int fd) {
    struct stat found;
    if (log_fd < 0 || fd < 0 || fd >= MAX_FD || !tracked[fd] || fstat(fd, &found)) return 0;
    return S_ISREG(found.st_mode) || S_ISDIR(found.st_mode) ? (uint64_t)found.st_ino : 0;
}

/* Whether the call that is about to change something below the root is the one that fails. */
static int fails(int concerned) {
    if (!concerned || fail_in < 0) return 0;
    pthread_mutex_lock(&mutex);
    int now = fail_in-- == 0;
    pthread_mutex_unlock(&mutex);
    if (now) errno = fail_errno;
    return now;
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= MAX_FD) return fd;
    tracked[fd] = (unsigned char)inside(path);
    if (!tracked[fd]) return fd;
    if (!existed && (flags & O_CREAT)) record_paths('C', inode_behind(fd), path, 0);
    else if (flags & O_TRUNC) record('T', inode_behind(fd), 0, 0, 0, 0, 0);
    return fd;
}

#define OPEN(name)                                                                             \
    int name(const char *path, int flags, ...) {                                               \
        mode_t mode = 0;                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                   \
            va_list rest;                                                                      \
            va_start(rest, flags);                                                             \
            mode = va_arg(rest, mode_t);                                                       \
            va_end(rest);                                                                      \
        }                                                                                      \
        int creates = inside(path) && (flags & O_CREAT);                                       \
        int existed = creates && !access(path, F_OK);                                          \
        if (fails(creates)) return -1;                                                         \
        return opened(REAL(name)(path, flags, mode), path, flags, existed);                    \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                           \
    int name(int folder, const char *path, int flags, ...) {                                   \
        mode_t mode = 0;                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                   \
            va_list rest;                                                                      \
            va_start(rest, flags);                                                             \
            mode = va_arg(rest, mode_t);                                                       \
            va_end(rest);                                                                      \
        }                                                                                      \
        int creates = inside(path) && (flags & O_CREAT);                                       \
        int existed = creates && !access(path, F_OK);                                          \
        if (fails(creates)) return -1;                                                         \
        return opened(REAL(name)(folder, path, flags, mode), path, flags, existed);            \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t length) {
    uint64_t inode = inode_behind(fd);
    off_t at = 0;
    if (fails(inode != 0)) return -1;
    if (inode) {
        at = lseek(fd, 0, SEEK_CUR);
        if (REAL(fcntl)(fd, F_GETFL) & O_APPEND) at = lseek(fd, 0, SEEK_END);
    }
    ssize_t done = REAL(write)(fd, data, length);
    if (inode && done > 0) record('W', inode, (uint64_t)at, data, (size_t)done, 0, 0);
    return done;
}

#define PWRITE(name, offset_type)                                                              \
    ssize_t name(int fd, const void *data, size_t length, offset_type at) {                    \
        uint64_t inode = inode_behind(fd);                                                     \
        if (fails(inode != 0)) return -1;                                                      \
        ssize_t done = REAL(name)(fd, data, length, at);                                       \
        if (inode && done > 0) record('W', inode, (uint64_t)at, data, (size_t)done, 0, 0);     \
        return done;                                                                           \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset_type)                                                            \
    int name(int fd, offset_type size) {                                                       \
        uint64_t inode = inode_behind(fd);                                                     \
        if (fails(inode != 0)) return -1;                                                      \
        int done = REAL(name)(fd, size);                                                       \
        if (inode && !done) record('T', inode, (uint64_t)size, 0, 0, 0, 0);                    \
        return done;                                                                           \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                             \
    int name(int fd) {                                                                         \
        uint64_t inode = inode_behind(fd);                                                     \
        if (fails(inode != 0)) return -1;                                                      \
        int done = REAL(name)(fd);                                                             \
        if (inode && !done) record('F', inode, 0, 0, 0, 0, 0);                                 \
        return done;                                                                           \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TWO_PATHS(name, kind)                                                                  \
    int name(const char *from, const char *to) {                                               \
        if (fails(inside(from) && inside(to))) return -1;                                      \
        int done = REAL(name)(from, to);                                                       \
        if (!done && inside(from) && inside(to)) record_paths(kind, 0, from, to);              \
        return done;                                                                           \
    }
TWO_PATHS(rename, 'R')
TWO_PATHS(link, 'L')

#define ONE_PATH(name, kind)                                                                   \
    int name(const char *path) {                                                               \
        if (fails(inside(path))) return -1;                                                    \
        int done = REAL(name)(path);                                                           \
        if (!done && inside(path)) record_paths(kind, 0, path, 0);                             \
        return done;                                                                           \
    }
ONE_PATH(unlink, 'U')
ONE_PATH(rmdir, 'D')

/* By a name in an open folder: recorded with the folder's path, as the two above are. */
int unlinkat(int folder, const char *name, int flags) {
    char link[32], path[PATH_MAX];
    ssize_t size = 0;
    if (folder != AT_FDCWD && name[0] != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        size = readlink(link, path, sizeof path - 1);
        if (size < 0) size = 0;
        if (size) path[size++] = '/';
    }
    snprintf(path + size, sizeof path - (size_t)size, "%s", name);
    if (fails(inside(path))) return -1;
    int done = REAL(unlinkat)(folder, name, flags);
    if (!done && inside(path)) record_paths(flags & AT_REMOVEDIR ? 'D' : 'U', 0, path, 0);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    if (fails(inside(path))) return -1;
    int done = REAL(mkdir)(path, mode);
    if (!done && inside(path)) record_paths('M', inode_of(path), path, 0);
    return done;
}

/* Called by the program under test, to mark what it has been promised so far. */
void n4a_note(const char *text) {
    if (log_fd >= 0) record_paths('N', 0, text, 0);
}

/* The call after `more` others fails with `error`; a negative number: none. Returns what was left. */
long n4a_fail(long more, int error) {
    long left = fail_in;
    fail_in = more;
    fail_errno = error;
    return left;
}
