/* Preloaded into a test: the k-th write, sync or rename below a folder fails, or ends the process.
 *
 * fault_plan chooses, fault_count says how many there were since. Full disks stay full: of ENOSPC each later
 * call fails too. glibc's own stdio does not call its public write, so fwrite is caught as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, SYNC, RENAME };

static int planned_kind, planned_at, planned_how, count, active;
static char root[PATH_MAX];

void fault_plan(int kind, int at, int how, const char* folder) {
  planned_kind = kind, planned_at = at, planned_how = how, count = 0, active = 1;
  snprintf(root, sizeof root, "%s", folder);
}

int fault_count(void) { return count; }

static int below(const char* path) { return strncmp(path, root, strlen(root)) == 0; }

/* Return whether this call is to fail; errno is set then. */
static int fails(int kind, const char* path) {
  if (!active || kind != planned_kind || !below(path)) return 0;
  ++count;
  if (!planned_at || count < planned_at) return 0;
  if (planned_how < 0) kill(getpid(), SIGKILL);
  if (count > planned_at && planned_how != ENOSPC) return 0;
  errno = planned_how;
  return 1;
}

static int file_fails(int kind, int file) {
  char link[64], path[PATH_MAX];
  if (!active || kind != planned_kind) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(kind, path);
}

#define REAL(type, name, parameters) \
  static type (*real) parameters;    \
  if (!real) real = (type (*) parameters) dlsym(RTLD_NEXT, #name)

#define ON_FILE(kind, type, name, parameters, arguments) \
  type name parameters {                                 \
    REAL(type, name, parameters);                        \
    return file_fails(kind, file) ? -1 : real arguments; \
  }

ON_FILE(WRITE, ssize_t, write, (int file, const void* data, size_t size), (file, data, size))
ON_FILE(WRITE, ssize_t, pwrite, (int file, const void* data, size_t size, off_t at), (file, data, size, at))
ON_FILE(WRITE, ssize_t, pwrite64, (int file, const void* data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(WRITE, ssize_t, writev, (int file, const struct iovec* parts, int n), (file, parts, n))
ON_FILE(WRITE, ssize_t, pwritev, (int file, const struct iovec* parts, int n, off_t at), (file, parts, n, at))
ON_FILE(WRITE, ssize_t, pwritev64, (int file, const struct iovec* parts, int n, off64_t at), (file, parts, n, at))
ON_FILE(SYNC, int, fsync, (int file), (file))
ON_FILE(SYNC, int, fdatasync, (int file), (file))

int msync(void* data, size_t size, int flags) {
  REAL(int, msync, (void*, size_t, int));
  return fails(SYNC, root) ? -1 : real(data, size, flags);
}

size_t fwrite(const void* data, size_t size, size_t n, FILE* stream) {
  REAL(size_t, fwrite, (const void*, size_t, size_t, FILE*));
  return file_fails(WRITE, fileno(stream)) ? 0 : real(data, size, n, stream);
}

int rename(const char* from, const char* to) {
  REAL(int, rename, (const char*, const char*));
  return fails(RENAME, to) ? -1 : real(from, to);
}
