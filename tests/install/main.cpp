// Tested: the installed package. Its headers are found, its library links, a task runs.

#include <roving/roving.hpp>

int main() {
  return roving::run([] { return roving::spawn([] { return 42; }).get() == 42 ? 0 : 1; });
}
