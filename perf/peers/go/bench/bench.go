// Package bench does for Go programs what Google Benchmark does for the C++ ones: it repeats an operation until that took
// long enough, and writes the same JSON.
package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An Entry is a line of the result. Counters are written beside the other fields.
type Entry struct {
	Name       string
	Iterations int
	Real, CPU  time.Duration // of all iterations
	Elapsed    bool          // items per second go by elapsed time, as where several threads take part
	Counters   map[string]float64
}

type benchmark struct {
	name   string
	repeat func(count int)
	once   func() Entry
}

var benchmarks []benchmark

// Add registers what does an operation `count` times.
func Add(name string, repeat func(count int)) {
	benchmarks = append(benchmarks, benchmark{name: name, repeat: repeat})
}

// AddOnce registers what runs once and measures itself.
func AddOnce(name string, once func() Entry) {
	benchmarks = append(benchmarks, benchmark{name: name, once: once})
}

// CPUTime is that of all threads of the process.
func CPUTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func measure(what benchmark, least time.Duration) Entry {
	if what.once != nil {
		found := what.once()
		found.Name = what.name
		return found
	}
	for count := 1; ; {
		began, used := time.Now(), CPUTime()
		what.repeat(count)
		entry := Entry{Name: what.name, Iterations: count, Real: time.Since(began), CPU: CPUTime() - used}
		if entry.CPU >= least || entry.Real >= 5*least {
			return entry
		}
		count = max(2*count, min(10*count, int(1.4*float64(count)*float64(least)/float64(max(entry.CPU, 1)))))
	}
}

func fields(of Entry) map[string]any {
	perItem := func(all time.Duration) float64 { return float64(all.Nanoseconds()) / float64(of.Iterations) }
	counted := of.CPU
	if of.Elapsed {
		counted = of.Real
	}
	found := map[string]any{"name": of.Name, "run_name": of.Name, "run_type": "iteration", "threads": 1,
		"iterations": of.Iterations, "real_time": perItem(of.Real), "cpu_time": perItem(of.CPU), "time_unit": "ns",
		"items_per_second": float64(of.Iterations) / counted.Seconds()}
	for name, value := range of.Counters {
		found[name] = value
	}
	return found
}

func write(to io.Writer, entries []Entry) {
	context := map[string]any{"date": time.Now().Format(time.RFC3339), "executable": os.Args[0],
		"num_cpus": runtime.NumCPU(), "peer": "Go", "peer_version": runtime.Version(),
		"peer_flags": "GOGC and GOAMD64 as they come"}
	all := []map[string]any{}
	for _, entry := range entries {
		all = append(all, fields(entry))
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"context": context, "benchmarks": all}); err != nil {
		panic(err)
	}
}

// Main runs what was registered, as the command line says in Google Benchmark's words.
func Main() {
	filter := flag.String("benchmark_filter", "", "which ones: a regular expression")
	least := flag.String("benchmark_min_time", "0.5", "seconds for each")
	format := flag.String("benchmark_format", "console", "of what is printed: console or json")
	out := flag.String("benchmark_out", "", "a file for JSON")
	outFormat := flag.String("benchmark_out_format", "json", "json")
	flag.Parse()
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(*least, "s"), 64)
	wanted, wrong := regexp.Compile(*filter)
	if err != nil || wrong != nil || *outFormat != "json" || !slices.Contains([]string{"console", "json"}, *format) {
		flag.Usage()
		os.Exit(2)
	}
	var found []Entry
	for _, each := range benchmarks {
		if !wanted.MatchString(each.name) {
			continue
		}
		entry := measure(each, time.Duration(seconds*float64(time.Second)))
		if *format == "console" {
			fmt.Printf("%-30s %12.1f ns %12.1f ns %10d %v\n", entry.Name, fields(entry)["real_time"],
				fields(entry)["cpu_time"], entry.Iterations, entry.Counters)
		}
		found = append(found, entry)
	}
	if *format == "json" {
		write(os.Stdout, found)
	}
	if *out != "" {
		file, err := os.Create(*out)
		if err != nil {
			panic(err)
		}
		write(file, found)
		if err := file.Close(); err != nil {
			panic(err)
		}
	}
}

// Latencies are put in order to find percentiles.
type Latencies []time.Duration

// Percentile is in microseconds; 0 without any.
func (all Latencies) Percentile(percent float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	at := min(len(all)-1, int(float64(len(all))*percent/100))
	return float64(all[at].Nanoseconds()) / 1000
}
