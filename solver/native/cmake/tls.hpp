// In place of OCCA 1.0.8's header of this name, whose per-thread values exist in the first thread only: a build from
// any other one ended in a segmentation fault, and launchers would have died with the thread that built them. Here
// every thread shares one value; this package opens devices and builds kernels one at a time.
#ifndef OCCA_TOOLS_TLS_HEADER
#define OCCA_TOOLS_TLS_HEADER

#include <iostream>
#include <occa/defines.hpp>

namespace occa {
template <class TM>
class tls {
 public:
  tls(const TM &initial = TM()) : value_(initial) {}

  TM &value() { return value_; }
  const TM &value() const { return value_; }

  template <class TM2>
  const TM2 &operator=(const TM2 &other) {
    value_ = other;
    return other;
  }

  operator TM() { return value_; }
  operator TM() const { return value_; }

 private:
  TM value_;
};

template <class TM>
std::ostream &operator<<(std::ostream &out, const tls<TM> &shared) {
  return out << shared.value();
}
}  // namespace occa

#endif
