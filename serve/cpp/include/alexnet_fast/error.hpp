// The exception of this library.
#pragma once

#include <stdexcept>
#include <string>

namespace alexnet_fast {

// An error in the caller's input: a path, an image, a model. `what()` is one line for people.
class Error : public std::runtime_error {
 public:
  // `problem` names the file and what is wrong, `hint` what to do about it ("" if there is nothing to do).
  explicit Error(const std::string& problem, const std::string& hint = "")
      : std::runtime_error(hint.empty() ? problem : problem + "; " + hint) {}
};

}  // namespace alexnet_fast
