/* A mock of the CUDA driver for tests without a GPU, to be built as libcuda.so.1. Device memory is host memory and kernels
   do nothing; every call is written to the file MOCK_CUDA_LOG as "name key=value ...", launch arguments as hexadecimal
   numbers of the width the PTX declares. Contexts are kept per thread, and calls that need one fail without it. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOCK __attribute__((visibility("default"))) int
#define PRIMARY ((void *)0xC0DE)
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, FILE_NOT_FOUND = 301 };
#define NEEDS_CONTEXT \
  if (!current) { \
    note("%s error=201", __func__); \
    return INVALID_CONTEXT; \
  }

typedef struct { char *text, name[256]; int count, width[64]; } Function;

static __thread void *current;
static uintptr_t last_stream = 0x5700, last_event = 0xE000, last_private = 0xD000;

static void note(const char *format, ...) {
  const char *path = getenv("MOCK_CUDA_LOG");
  FILE *log = path ? fopen(path, "a") : NULL;
  if (!log) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(log, format, arguments);
  va_end(arguments);
  fputc('\n', log);
  fclose(log);
}

/* For the tests: a line of their own in the log. */
MOCK mock_mark(const char *text) { note("mark text=%s", text); return OK; }

MOCK cuInit(unsigned flags) { return OK; }
MOCK cuDriverGetVersion(int *version) { *version = 13000; return OK; }
MOCK cuGetErrorName(int error, const char **name) { *name = "MOCK_ERROR"; return OK; }
MOCK cuGetErrorString(int error, const char **text) { *text = "error of the mock driver"; return OK; }
/* MOCK_CUDA_GPUS are there, one if it is unset; CUDA_VISIBLE_DEVICES, single digits, chooses among them. */
static int gpu(int ordinal) {
  const char *all = getenv("MOCK_CUDA_GPUS"), *visible = getenv("CUDA_VISIBLE_DEVICES");
  if (!visible) return ordinal < (all ? atoi(all) : 1) ? ordinal : -1;
  return 2 * ordinal < (int)strlen(visible) ? visible[2 * ordinal] - '0' : -1;
}
MOCK cuDeviceGetCount(int *count) {
  for (*count = 0; gpu(*count) >= 0;) ++*count;
  return OK;
}
MOCK cuDeviceGet(int *device, int ordinal) { *device = ordinal; return gpu(ordinal) < 0 ? INVALID_DEVICE : OK; }
MOCK cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, gpu(device), 16); return OK; }
MOCK cuDeviceGetName(char *name, int length, int device) { strncpy(name, "mock", length); return OK; }
MOCK cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 37; return OK; }
MOCK cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 9; *minor = 0; return OK; }
MOCK cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;
  return OK;
}
MOCK cuDeviceCanAccessPeer(int *can, int one, int other) { *can = 1; return OK; }

MOCK cuDevicePrimaryCtxRetain(void **context, int device) { note("cuDevicePrimaryCtxRetain"); *context = PRIMARY; return OK; }
MOCK cuDevicePrimaryCtxRelease_v2(int device) { note("cuDevicePrimaryCtxRelease"); return OK; }
MOCK cuCtxCreate_v2(void **context, unsigned flags, int device) {
  *context = current = (void *)++last_private;
  note("cuCtxCreate");
  return OK;
}
MOCK cuCtxCreate_v4(void **context, void *parameters, unsigned flags, int device) { return cuCtxCreate_v2(context, flags, device); }
MOCK cuCtxDestroy_v2(void *context) { note("cuCtxDestroy"); return OK; }
MOCK cuCtxSetCurrent(void *context) { current = context; return OK; }
MOCK cuCtxGetCurrent(void **context) { *context = current; return OK; }
MOCK cuCtxPushCurrent_v2(void *context) { current = context; return OK; }
MOCK cuCtxPopCurrent_v2(void **context) { *context = current; return OK; }
MOCK cuCtxGetDevice(int *device) { NEEDS_CONTEXT *device = 0; return OK; }
MOCK cuCtxEnablePeerAccess(void *context, unsigned flags) { return OK; }
MOCK cuCtxSynchronize(void) { note("cuCtxSynchronize"); return OK; }

MOCK cuStreamCreate(void **stream, unsigned flags) {
  NEEDS_CONTEXT
  *stream = (void *)++last_stream;
  note("cuStreamCreate stream=%p", *stream);
  return OK;
}
MOCK cuStreamDestroy_v2(void *stream) { note("cuStreamDestroy stream=%p", stream); return OK; }
MOCK cuStreamSynchronize(void *stream) { NEEDS_CONTEXT note("cuStreamSynchronize stream=%p", stream); return OK; }
MOCK cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
  NEEDS_CONTEXT
  note("cuStreamWaitEvent stream=%p event=%p", stream, event);
  return OK;
}

/* An event's number stands for its time in milliseconds. */
MOCK cuEventCreate(void **event, unsigned flags) { NEEDS_CONTEXT *event = (void *)++last_event; return OK; }
MOCK cuEventRecord(void *event, void *stream) {
  NEEDS_CONTEXT
  note("cuEventRecord stream=%p event=%p", stream, event);
  return OK;
}
MOCK cuEventSynchronize(void *event) { NEEDS_CONTEXT note("cuEventSynchronize event=%p", event); return OK; }
MOCK cuEventElapsedTime(float *milliseconds, void *first, void *last) {
  *milliseconds = (float)((uintptr_t)last - (uintptr_t)first);
  return OK;
}
MOCK cuEventElapsedTime_v2(float *milliseconds, void *first, void *last) { return cuEventElapsedTime(milliseconds, first, last); }
MOCK cuEventDestroy_v2(void *event) { note("cuEventDestroy event=%p", event); return OK; }

MOCK cuModuleLoad(void **module, const char *path) {
  NEEDS_CONTEXT
  FILE *file = fopen(path, "rb");
  if (!file) return FILE_NOT_FOUND;
  fseek(file, 0, SEEK_END);
  const long length = ftell(file);
  rewind(file);
  char *text = calloc(length + 1, 1);
  if (fread(text, 1, length, file) != (size_t)length) return FILE_NOT_FOUND;
  fclose(file);
  note("cuModuleLoad kind=%s module=%p", text[0] == 0x7f ? "cubin" : "ptx", text);
  *module = text;
  return OK;
}
MOCK cuModuleUnload(void *module) { note("cuModuleUnload module=%p", module); free(module); return OK; }
MOCK cuModuleGetFunction(void **out, void *module, const char *name) {
  Function *function = calloc(1, sizeof *function);
  strncpy(function->name, name, sizeof function->name - 1);
  char entry[300];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  char *at = strstr(module, entry), *end = at ? strchr(at + strlen(entry), ')') : NULL;
  if (!at) return INVALID_VALUE;
  while ((at = strstr(at, ".param ")) && at < end) {
    char *bits = at + strlen(".param ");
    if (!strncmp(bits, ".align", 6)) bits = strchr(bits + 1, '.');
    while (*bits && (*bits < '0' || *bits > '9')) ++bits;
    if (function->count < 64) function->width[function->count++] = atoi(bits) / 8;
    at = bits;
  }
  *out = function;
  return OK;
}
MOCK cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 1024; return OK; }
MOCK cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                    unsigned shared, void *stream, void **arguments, void **extra) {
  NEEDS_CONTEXT
  char text[2048] = "";
  for (int i = 0; i < function->count; ++i) {
    uint64_t value = 0;
    memcpy(&value, arguments[i], function->width[i]);
    snprintf(text + strlen(text), sizeof text - strlen(text), " arg%d=%d:%llx", i, function->width[i], (unsigned long long)value);
  }
  note("cuLaunchKernel name=%s grid=%u block=%u stream=%p%s", function->name, gx, bx, stream, text);
  return OK;
}

MOCK cuMemAlloc_v2(uintptr_t *pointer, size_t bytes) {
  NEEDS_CONTEXT
  *pointer = (uintptr_t)malloc(bytes);
  note("cuMemAlloc pointer=%p bytes=%zu", (void *)*pointer, bytes);
  return *pointer ? OK : OUT_OF_MEMORY;
}
MOCK cuMemFree_v2(uintptr_t pointer) {
  NEEDS_CONTEXT
  note("cuMemFree pointer=%p", (void *)pointer);
  free((void *)pointer);
  return OK;
}
MOCK cuMemAllocHost_v2(void **pointer, size_t bytes) { *pointer = malloc(bytes); return OK; }
MOCK cuMemFreeHost(void *pointer) { free(pointer); return OK; }
MOCK cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags) {
  NEEDS_CONTEXT
  note("cuMemHostRegister pointer=%p bytes=%zu", pointer, bytes);
  return OK;
}
MOCK cuMemHostUnregister(void *pointer) {
  note("cuMemHostUnregister pointer=%p", pointer);
  return OK;
}
MOCK cuMemHostGetDevicePointer_v2(uintptr_t *device, void *host, unsigned flags) { *device = (uintptr_t)host; return OK; }
MOCK cuMemAllocManaged(uintptr_t *pointer, size_t bytes, unsigned flags) { return cuMemAlloc_v2(pointer, bytes); }

static int copy(const char *name, void *to, const void *from, size_t bytes, void *stream) {
  if (!current) return INVALID_CONTEXT;
  note("%s bytes=%zu stream=%p", name, bytes, stream);
  memmove(to, from, bytes);
  return OK;
}
#define COPY(name, To, From) \
  MOCK name##_v2(To to, From from, size_t bytes) { return copy(#name, (void *)to, (const void *)from, bytes, NULL); } \
  MOCK name##Async_v2(To to, From from, size_t bytes, void *stream) { \
    return copy(#name "Async", (void *)to, (const void *)from, bytes, stream); \
  }
COPY(cuMemcpyHtoD, uintptr_t, const void *)
COPY(cuMemcpyDtoH, void *, uintptr_t)
COPY(cuMemcpyDtoD, uintptr_t, uintptr_t)
MOCK cuMemcpyPeer(void) { return INVALID_VALUE; }
MOCK cuMemcpyPeerAsync(void) { return INVALID_VALUE; }
MOCK cuMemAdvise(void) { return OK; }
MOCK cuMemAdvise_v2(void) { return OK; }
MOCK cuMemPrefetchAsync(void) { return OK; }
MOCK cuMemPrefetchAsync_v2(void) { return OK; }
