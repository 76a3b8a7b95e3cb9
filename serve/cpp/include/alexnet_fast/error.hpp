// The one exception that this library throws on purpose.
#pragma once

#include <stdexcept>
#include <string>

namespace alexnet_fast {

// A mistake in what the caller gave: a path, an image, a model. `what()` is one line for people.
class Error : public std::runtime_error {
 public:
  // `problem` says what is wrong and names the file, `hint` what to do about it ("" where nothing can be
  // said).
  explicit Error(const std::string& problem, const std::string& mend = "")
      : std::runtime_error(mend.empty() ? problem : problem + "; " + mend) {}
};

}  // namespace alexnet_fast
