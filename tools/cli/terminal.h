// SPDX-License-Identifier: Apache-2.0
// The terminal this program runs in.
#pragma once

#include <termios.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>

#include "maps/fd.h"
#include "tools/cli/text.h"

namespace slogate::cli {

struct WindowSize {
  size_t columns, rows;
};

// Nothing when standard output is no terminal.
std::optional<WindowSize> window_size();

// What standard output can show: colours only on a terminal, and none where NO_COLOR is set.
Style detect_style();

// What ended a wait.
enum class Key { None, Resized, Quit };

// The whole terminal, taken over while this lives: another screen, no cursor, no echo. Whatever
// ends the life of it, signals included, gives the terminal back as it was.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Replaces what is shown; `text` has no more lines than the window.
  void show(std::string_view text);

  // Waits for `timeout` at most. Ctrl-C, a signal to end and "q" all mean Quit.
  Key wait(std::chrono::milliseconds timeout);

 private:
  void enter();
  void leave();
  void pause();
  Key read_signal();
  Key read_key();

  Fd signals_;
  bool keyboard_ = false;  // standard input is a terminal
  termios before_{};
};

}  // namespace slogate::cli
