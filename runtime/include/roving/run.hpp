// roving::run, the way in. See runtime.hpp.
#pragma once

#include <roving/runtime.hpp>
