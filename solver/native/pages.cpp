#include "pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "device.hpp"

#if defined(__linux__) && !defined(MREMAP_DONTUNMAP)
#define MREMAP_DONTUNMAP 4
#endif

#ifdef MREMAP_DONTUNMAP
namespace {
std::atomic<bool> they_move{true};

// What is at `from` is at `to` from then on; `from` stays mapped, empty.
bool move_pages(char *from, char *to, size_t bytes) {
  return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) != MAP_FAILED;
}

// The same, by a copy where the system refuses; it may have taken away what was mapped at `to` by then.
void bring_pages(char *from, char *to, size_t bytes) {
  if (move_pages(from, to, bytes)) return;
  constexpr int kFixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(to, bytes, PROT_READ | PROT_WRITE, kFixed, -1, 0) == MAP_FAILED)
    throw Error{"DeviceError", "the host's memory must stay mapped, the system took " + std::to_string(bytes) +
                                   " bytes of it away; start again from a checkpoint"};
  std::memcpy(to, from, bytes);
}
}  // namespace

bool pages_move() noexcept { return they_move; }

bool exchange_pages(char *first, char *second, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t whole = bytes / page * page;
  constexpr int kReserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void *room = mmap(nullptr, whole + kHugePage, PROT_NONE, kReserved, -1, 0);
  if (room == MAP_FAILED) return false;
  const auto begin = reinterpret_cast<uintptr_t>(room);
  char *aside = static_cast<char *>(room) + ((kHugePage - begin % kHugePage) % kHugePage);
  if (!move_pages(first, aside, whole)) {
    they_move = false;  // `room` stays: where a hole is in it, that may be another thread's by now
    return false;
  }
  bring_pages(second, first, whole);
  bring_pages(aside, second, whole);
  munmap(room, whole + kHugePage);
  std::swap_ranges(first + whole, first + bytes, second + whole);
  return true;
}
#else
bool pages_move() noexcept { return false; }

bool exchange_pages(char *, char *, size_t) { return false; }
#endif
