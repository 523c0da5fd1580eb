#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <R_ext/Utils.h>
#include <Rinternals.h>

namespace rv {

std::atomic<bool> Signals::stop{false};

namespace {
std::atomic<bool> is_for_r{false};
pthread_t r_thread;
struct sigaction old_int, old_term;

void on_signal(int number);

void install(int number, struct sigaction* old) {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, old);
}

void on_signal(int number) {
  if (number == SIGINT && is_for_r.exchange(false)) {
    if (old_int.sa_handler != SIG_DFL && old_int.sa_handler != SIG_IGN) old_int.sa_handler(number);
    install(SIGINT, nullptr);  // R's handler has installed itself
    return;
  }
  if (Signals::stop.exchange(true)) {
    signal(number, SIG_DFL);
    kill(getpid(), number);
  }
}
}  // namespace

void Signals::end_process() {
  signal(SIGTERM, SIG_DFL);
  kill(getpid(), SIGTERM);
}

Signals::Signals() {
  stop = false;
  is_for_r = false;
  r_thread = pthread_self();
  install(SIGINT, &old_int);
  install(SIGTERM, &old_term);
}

Signals::~Signals() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
}

void Signals::interrupt_r() const {
  is_for_r = true;
  pthread_kill(r_thread, SIGINT);
}

void Signals::forget_interrupt() {
  R_ToplevelExec([](void*) { R_CheckUserInterrupt(); }, nullptr);
}

}  // namespace rv
