// The few calls of the CUDA and HIP drivers which OCCA does not offer, looked up when a device is opened: the current
// context, events between streams, waiting for one stream, and pinning. No toolkit is needed to compile this.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

class Runtime {
 public:
  // nullptr where the mode has no driver on this machine.
  static std::unique_ptr<Runtime> open(const std::string &mode, int ordinal);
  static int device_count(const std::string &mode);

  void enter();                                     // the device's context becomes current on this thread
  void order(uintptr_t before, uintptr_t after);    // work put on `after` from now on waits for all of `before`
  void *record(uintptr_t stream);                   // a timed event
  double seconds_between(void *first, void *last);  // waits for `last`
  void wait(void *event);
  void destroy(void *event);
  void synchronize(uintptr_t stream);
  void pin(void *host, size_t bytes);  // pages of the host's memory stay in place, so that copies go at full speed
  void unpin(void *host);

 private:
  Runtime() = default;
  void check(int status, const char *call) const;

  struct Calls {
    int (*count)(int *) = nullptr;
    int (*retain)(void **, int) = nullptr;
    int (*set_current)(void *) = nullptr;
    int (*set_device)(int) = nullptr;
    int (*event_create)(void **, unsigned) = nullptr;
    int (*event_record)(void *, void *) = nullptr;
    int (*event_destroy)(void *) = nullptr;
    int (*event_synchronize)(void *) = nullptr;
    int (*event_elapsed)(float *, void *, void *) = nullptr;
    int (*stream_wait)(void *, void *, unsigned) = nullptr;
    int (*stream_synchronize)(void *) = nullptr;
    int (*host_register)(void *, size_t, unsigned) = nullptr;
    int (*host_unregister)(void *) = nullptr;
  };
  static bool load(const std::string &mode, Calls &calls);

  Calls calls_;
  std::string mode_;
  int ordinal_ = 0;
  void *context_ = nullptr;
};
