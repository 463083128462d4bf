/* Preloaded into a process: lets chosen writes below one folder fail as a full or broken disk does.
 *
 * Counted are the calls that need a disk which takes something: creating, writing, truncating, syncing, renaming, linking,
 * deleting. A call fails where its number is at least `first` and fewer than `most` have failed. Deleting needs no room.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static atomic_long seen, failed, first = LONG_MAX, most;
static int error_number, only_syncs;

static atomic_long again;
static char suspect[PATH_MAX];
static ino_t suspect_inode;

/* Everything below `path` counts from now on; of it `many` calls fail from the `from`-th on. */
void faults_arm(const char *path, long from, long many, int number, int syncs) {
    snprintf(folder, sizeof folder, "%s", path);
    again = 0; *suspect = 0; seen = 0; failed = 0; error_number = number; only_syncs = syncs; most = many; first = from;
}
/* How often a file was synced again whose fsync had failed. */
long faults_synced_again(void) { return again; }
/* From its first moment on, a process with FAULTS="PATH FIRST MANY ERRNO"; its children do not. */
__attribute__((constructor)) static void begin(void) {
    char path[PATH_MAX];
    long from, many;
    int number;
    const char *wanted = getenv("FAULTS");
    if (wanted && sscanf(wanted, "%4095s %ld %ld %d", path, &from, &many, &number) == 4) faults_arm(path, from, many, number, 0);
    unsetenv("FAULTS");
}

/* At the end it says how many calls it has seen. */
__attribute__((destructor)) static void end(void) {
    const char *report = getenv("FAULTS_REPORT");
    FILE *file = report && *folder ? fopen(report, "w") : NULL;
    if (file) { fprintf(file, "%ld %ld\n", (long)seen, (long)failed); fclose(file); }
}

long faults_seen(void) { return seen; }
long faults_failed(void) { return failed; }

static int fails(int is_sync) {
    if (only_syncs && !is_sync) return 0;
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (number < first || atomic_load(&failed) >= most) return 0;
    atomic_fetch_add(&failed, 1);
    errno = error_number;
    return 1;
}

static int below(const char *path) {
    size_t length = strlen(folder);
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int fd_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!*folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int at_below(int fd, const char *path) {
    if (!path) return 0;
    if (*path == '/') return below(path);
    return fd != AT_FDCWD && fd_below(fd);
}

static int delete_fails(void) { return (error_number == EIO || error_number == EROFS) && fails(0); }

static int sync_fails(int fd) {
    char link[64], path[PATH_MAX];
    struct stat found;
    if (!fd_below(fd)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || fstat(fd, &found)) return fails(1);
    path[length] = 0;
    if (*suspect && !strcmp(suspect, path) && suspect_inode == found.st_ino) atomic_fetch_add(&again, 1);
    if (!fails(1)) return 0;
    if (S_ISREG(found.st_mode)) { strcpy(suspect, path); suspect_inode = found.st_ino; }
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENAT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        REAL(name); va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        if ((flags & O_CREAT) && at_below(fd, path) && fails(0)) return -1; \
        return real(fd, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        if ((flags & O_CREAT) && at_below(AT_FDCWD, path) && fails(0)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t length) { REAL(write); return fd_below(fd) && fails(0) ? -1 : real(fd, data, length); }
ssize_t writev(int fd, const struct iovec *data, int count) { REAL(writev); return fd_below(fd) && fails(0) ? -1 : real(fd, data, count); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { REAL(pwrite); return fd_below(fd) && fails(0) ? -1 : real(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { REAL(pwrite64); return fd_below(fd) && fails(0) ? -1 : real(fd, data, length, at); }
int ftruncate(int fd, off_t length) { REAL(ftruncate); return fd_below(fd) && fails(0) ? -1 : real(fd, length); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); return fd_below(fd) && fails(0) ? -1 : real(fd, length); }
int fsync(int fd) { REAL(fsync); return sync_fails(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return sync_fails(fd) ? -1 : real(fd); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return at_below(AT_FDCWD, path) && fails(0) ? -1 : real(path, mode); }
int mkdirat(int fd, const char *path, mode_t mode) { REAL(mkdirat); return at_below(fd, path) && fails(0) ? -1 : real(fd, path, mode); }
int rename(const char *from, const char *to) { REAL(rename); return at_below(AT_FDCWD, from) && fails(0) ? -1 : real(from, to); }
int renameat(int a, const char *from, int b, const char *to) { REAL(renameat); return at_below(a, from) && fails(0) ? -1 : real(a, from, b, to); }
int link(const char *from, const char *to) { REAL(link); return at_below(AT_FDCWD, to) && fails(0) ? -1 : real(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { REAL(linkat); return at_below(b, to) && fails(0) ? -1 : real(a, from, b, to, flags); }
int unlink(const char *path) { REAL(unlink); return at_below(AT_FDCWD, path) && delete_fails() ? -1 : real(path); }
int unlinkat(int fd, const char *path, int flags) { REAL(unlinkat); return at_below(fd, path) && delete_fails() ? -1 : real(fd, path, flags); }
