/* A disk that fails on demand: loaded before the C library (LD_PRELOAD) into a process under test.
 *
 * FAULTY_DISK names a file that holds "CALL ERRNO PART" while the disk is faulty, and is empty while it is not. CALL is
 * one or more of create, write, sync, remove; PART is a part of the path. A negative ERRNO is no error: the call takes
 * so many seconds longer. Each fault that was raised, and each sync that was
 * done below FAULTY_ROOT, is a line in FAULTY_DISK.log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void note(const char *what, const char *path) {
    char name[4096], line[4400];
    const char *control = getenv("FAULTY_DISK");
    if (control == NULL) return;
    snprintf(name, sizeof name, "%s.log", control);
    int file = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    syscall(SYS_write, file, line, (size_t)length);
    syscall(SYS_close, file);
}

static int is_ours(const char *path) {
    const char *root = getenv("FAULTY_ROOT");
    return root != NULL && strncmp(path, root, strlen(root)) == 0;
}

/* The errno to raise, or 0. */
static int fault(const char *call, const char *path) {
    char text[512], wanted[32], part[256];
    int number;
    const char *control = getenv("FAULTY_DISK");
    if (control == NULL || !is_ours(path)) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (length <= 0) return 0;
    text[length] = 0;
    if (sscanf(text, "%31s %d %255s", wanted, &number, part) != 3) return 0;
    if (strstr(wanted, call) == NULL || strstr(path, part) == NULL) return 0;
    note(call, path);
    if (number < 0) sleep((unsigned)-number);
    return number < 0 ? 0 : number;
}

static const char *path_of(int descriptor, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, size - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static int fault_on(const char *call, int descriptor) {
    char path[4096];
    int kept = errno, number = fault(call, path_of(descriptor, path, sizeof path));
    errno = number ? number : kept;
    return number;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name)                                                                  \
    int name(const char *path, int flags, ...) {                                     \
        mode_t mode = 0;                                                             \
        if (flags & O_CREAT) {                                                       \
            va_list more;                                                            \
            va_start(more, flags);                                                   \
            mode = va_arg(more, mode_t);                                             \
            va_end(more);                                                            \
            int number = fault("create", path);                                      \
            if (number) { errno = number; return -1; }                               \
        }                                                                            \
        return REAL(name)(path, flags, mode);                                        \
    }
OPENS(open)
OPENS(open64)

ssize_t write(int descriptor, const void *bytes, size_t count) {
    return fault_on("write", descriptor) ? -1 : REAL(write)(descriptor, bytes, count);
}
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    return fault_on("write", descriptor) ? -1 : REAL(writev)(descriptor, parts, count);
}
ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return fault_on("write", descriptor) ? -1 : REAL(pwrite)(descriptor, bytes, count, offset);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    return fault_on("write", descriptor) ? -1 : REAL(pwrite64)(descriptor, bytes, count, offset);
}

static int synced(int descriptor, int answer) {
    char path[4096];
    if (answer == 0 && is_ours(path_of(descriptor, path, sizeof path))) note("synced", path);
    return answer;
}
int fsync(int descriptor) {
    return fault_on("sync", descriptor) ? -1 : synced(descriptor, REAL(fsync)(descriptor));
}
int fdatasync(int descriptor) {
    return fault_on("sync", descriptor) ? -1 : synced(descriptor, REAL(fdatasync)(descriptor));
}

int unlink(const char *path) {
    int number = fault("remove", path);
    if (number) { errno = number; return -1; }
    return REAL(unlink)(path);
}
