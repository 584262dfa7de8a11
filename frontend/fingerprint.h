// What a kernel is made of, as words: for telling whether it is still the kernel that something was measured on.
#pragma once

#include <string>

#include "frontend/frontend.h"

namespace tessera {

/// The words of the kernel and of everything that it may reach by name, in this file and in imported ones: functions, structs, constants, the kernel
/// that it is an instance of, and their schedules for a target family ("cpu", "sm90"). Comments, layout, and items that it does not name make no
/// difference; nor does its `tune` block, which says what may be chosen and not what is computed. Empty if there is no such kernel.
std::string kernel_words(const Program& program, const std::string& kernel, const std::string& family);
/// The same of the kernel whose body it runs (skeleton_of), as its own module has it.
std::string skeleton_words(const Program& program, const std::string& kernel, const std::string& family);

}  // namespace tessera
