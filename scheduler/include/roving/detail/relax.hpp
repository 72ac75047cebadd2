// The seam "waiting by spinning": every loop of roving that spins calls relax() once a round.
//
// One function, so that it has one home (scheduler/relax.cpp) and can be replaced whole: a simulator or
// a model explorer, which runs all threads on one, must let another of them go on here, or whoever
// spins waits for ever for a holder that never gets to run.
#pragma once

#pragma GCC visibility push(default)

namespace roving::detail {

/// Lets time pass in the `iteration`th round of a spin loop; the first round is 0.
///
/// Pauses the core for a moment in early rounds. Later ones offer the processor to other threads,
/// because by then the thread that is waited for has probably been preempted.
/// Suspends: never. Thread safety: any thread.
void relax(unsigned iteration) noexcept;

}  // namespace roving::detail

#pragma GCC visibility pop
