// Goroutines on one processor (GOMAXPROCS), and between two.
package main

import (
	"math/rand"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"roving/peers/go/bench"
)

// Two goroutines that yield to each other.
func yield(count int) {
	var both sync.WaitGroup
	for range 2 {
		both.Add(1)
		go func() {
			defer both.Done()
			for range (count + 1) / 2 {
				runtime.Gosched()
			}
		}()
	}
	both.Wait()
}

func spawnAndJoin(count int) {
	for range count {
		var one sync.WaitGroup
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

// Counts goroutines: what does not fill a batch is done as well.
func spawn1000ThenJoin(count int) {
	for left := count; left > 0; left -= 1000 {
		var all sync.WaitGroup
		for range min(left, 1000) {
			all.Add(1)
			go all.Done()
		}
		all.Wait()
	}
}

func hop(count int) {
	there, back := make(chan struct{}), make(chan struct{})
	go func() {
		for range there {
			back <- struct{}{}
		}
		close(back)
	}()
	for range (count + 1) / 2 {
		there <- struct{}{}
		<-back
	}
	close(there)
	<-back
}

func timerSetCancel(count int) {
	for range count {
		time.AfterFunc(time.Hour, func() {}).Stop()
	}
}

func sleepers(count int) bench.Entry {
	random := rand.New(rand.NewSource(1))
	spans := make([]time.Duration, count)
	for i := range spans {
		spans[i] = time.Millisecond + time.Duration(random.Int63n(int64(999*time.Millisecond)))
	}
	late := make(bench.Latencies, 0, count)
	early, started := 0, 0
	allAreThere := false // one processor, so no goroutine sees it half written
	var all sync.WaitGroup
	all.Add(count)
	began, used := time.Now(), bench.CPUTime()
	for i, span := range spans {
		go func() {
			defer all.Done()
			started++
			deadline := time.Now().Add(span)
			time.Sleep(span)
			if lateness := time.Since(deadline); lateness < 0 {
				early++
			} else if allAreThere {
				late = append(late, lateness)
			}
		}()
		for (i+1)%1000 == 0 && started <= i {
			runtime.Gosched()
		}
	}
	allAreThere = true
	all.Wait()
	cpu := bench.CPUTime() - used
	return bench.Entry{Iterations: count, Real: time.Since(began), CPU: cpu, Counters: map[string]float64{
		"cpu_s": cpu.Seconds(), "early": float64(early),
		"p50_late_us": late.Percentile(50), "p99_late_us": late.Percentile(99)}}
}

const bitsPerWord = 8 * int(unsafe.Sizeof(uintptr(0)))

type coreSet [1024 / bitsPerWord]uintptr

func affinity(call uintptr, set *coreSet) {
	_, _, failed := syscall.RawSyscall(call, 0, unsafe.Sizeof(*set), uintptr(unsafe.Pointer(set)))
	if failed != 0 {
		panic(failed)
	}
}

// Binds the calling goroutine to a thread, and that to the first or the second core that may be used.
func lockToCore(number int) {
	runtime.LockOSThread()
	var usable coreSet
	affinity(syscall.SYS_SCHED_GETAFFINITY, &usable)
	for core := range len(usable) * bitsPerWord {
		bit := uintptr(1) << (core % bitsPerWord)
		if usable[core/bitsPerWord]&bit == 0 {
			continue
		}
		if number == 0 {
			var one coreSet
			one[core/bitsPerWord] = bit
			affinity(syscall.SYS_SCHED_SETAFFINITY, &one)
			return
		}
		number--
	}
	panic("needs two cores")
}

func pause() {
	for until := time.Now().Add(20 * time.Microsecond); time.Now().Before(until); {
	}
}

// Two sides that send each other the time, each bound to a thread: left alone, the scheduler runs both on one. `before` is
// called by each before it sends, and what it took from there to the other's return from the receive counts, on the way
// back only if `both`.
func betweenThreads(rounds int, both bool, before func(answering bool)) bench.Entry {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	there, back := make(chan time.Time, 1), make(chan time.Time, 1)
	var latencies bench.Latencies
	var sum time.Duration
	note := func(sent time.Time) {
		took := time.Since(sent)
		latencies = append(latencies, took)
		sum += took
	}
	var sides sync.WaitGroup
	sides.Add(2)
	go func() { // never unlocked: the thread ends with it
		defer sides.Done()
		lockToCore(1)
		for sent := range there {
			note(sent)
			before(true)
			back <- time.Now()
		}
	}()
	used := bench.CPUTime()
	go func() {
		defer sides.Done()
		defer close(there)
		lockToCore(0)
		for range rounds {
			before(false)
			there <- time.Now()
			if sent := <-back; both {
				note(sent) // the other side waits
			}
		}
	}()
	sides.Wait()
	return bench.Entry{Iterations: len(latencies), Real: sum, CPU: bench.CPUTime() - used, Elapsed: true,
		Counters: map[string]float64{"p50_us": latencies.Percentile(50), "p99_us": latencies.Percentile(99)}}
}

func hopAsleep() bench.Entry {
	return betweenThreads(4000, true, func(bool) { pause() })
}

func wake() bench.Entry {
	return betweenThreads(400, false, func(answering bool) {
		if !answering {
			time.Sleep(500 * time.Microsecond)
		}
	})
}

// Two goroutines on two processors: one wakes the other and computes for 2 ms, while the second processor has nothing to do.
func wakeByWhoGoesOn() bench.Entry {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	rung, heard := make(chan time.Time, 1), make(chan struct{}, 1)
	var latencies bench.Latencies
	go func() {
		for sent := range rung {
			latencies = append(latencies, time.Since(sent))
			heard <- struct{}{}
		}
		close(heard)
	}()
	began, used := time.Now(), bench.CPUTime()
	for range 200 {
		time.Sleep(500 * time.Microsecond)
		sent := time.Now()
		rung <- sent
		for time.Since(sent) < 2*time.Millisecond {
		}
		<-heard
	}
	close(rung)
	<-heard
	return bench.Entry{Iterations: len(latencies), Real: time.Since(began), CPU: bench.CPUTime() - used, Elapsed: true,
		Counters: map[string]float64{"p50_us": latencies.Percentile(50), "p99_us": latencies.Percentile(99)}}
}

func main() {
	runtime.GOMAXPROCS(1)
	bench.Add("yield", yield)
	bench.Add("spawn_and_join", spawnAndJoin)
	bench.Add("spawn_1000_then_join", spawn1000ThenJoin)
	bench.Add("hop", hop)
	bench.Add("timer_set_cancel", timerSetCancel)
	bench.AddOnce("sleepers/tasks:100000", func() bench.Entry { return sleepers(100_000) })
	bench.AddOnce("sleepers/tasks:1000000", func() bench.Entry { return sleepers(1_000_000) })
	bench.AddOnce("hop_asleep", hopAsleep)
	bench.AddOnce("wake", wake)
	bench.AddOnce("wake_by_who_goes_on", wakeByWhoGoesOn)
	bench.Main()
}
