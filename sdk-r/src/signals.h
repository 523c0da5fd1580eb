// SIGTERM and SIGINT while a model is served: the first drains, the second ends the process at once. And the way to
// interrupt R from another thread: its own handler of SIGINT, called in its own thread.
#pragma once

#include <atomic>

namespace rv {

class Signals {
 public:
  // Takes the signals over; there is one at a time. Belongs to R's thread.
  Signals();
  // Gives them back.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Set by the first signal.
  static std::atomic<bool> stop;

  // Interrupts what R is doing, as Ctrl-C does; from any thread.
  void interrupt_r() const;
  // Ends this process as an unhandled SIGTERM would; from any thread.
  static void end_process();
  // Forgets an interrupt that came too late to hit what it was meant for. R's thread.
  static void forget_interrupt();
};

}  // namespace rv
