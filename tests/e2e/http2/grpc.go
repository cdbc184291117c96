// SPDX-License-Identifier: Apache-2.0
// A server and a client of gRPC, both Go's own, for http2.sh.
//
//	grpc serve -port PORT
//	grpc ask -port PORT [-number N] [-concurrent N] [-connections N] [-rate N] [-deadline D] [-bytes N]
//	         [-cancel D] [-for D] [-pause FILE] [-sleep MEDIAN:SIGMA[:TAIL]] METHOD...
//
// The method says what the server does, so that a client decides what every call comes to:
//
//	/answer/CODE  ends with that grpc-status, by trailers alone where it is not 0
//	/late/CODE    the same after the answer's headers
//	/refuse/CODE  the same without having read the message
//	/never/0      waits for the client to give up, which -cancel and -deadline do
//	/stream/N     N messages with 20 ms ahead of each
//	/sleep/US     answers after so many microseconds, and says how many it took
//
// A client prints a line `CODE NUMBER` for each grpc-status that it saw; with -for it ends after that time if
// not before, with -pause it makes FILE when the first half of its calls is over, and goes on when that is gone.
// With -sleep it draws the times
// of /sleep itself, those above the 98th percentile TAIL times as long, and prints the quantiles
// `served P50 P90 P99` that the server told, and `waited P50 P90 P99`, its own, in seconds.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What is sent is bytes; no messages are defined.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string   { return "proto" }
func (raw) String() string { return "proto" }

// ---- server ----

func handle(_ interface{}, stream grpc.ServerStream) error {
	began := time.Now()
	method, _ := grpc.MethodFromServerStream(stream)
	words := strings.Split(method, "/")
	number, err := strconv.Atoi(words[2])
	if err != nil {
		return status.Error(codes.Unimplemented, method)
	}
	if words[1] == "refuse" {
		return status.Error(codes.Code(number), "as asked")
	}
	var in []byte
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	out := []byte{}
	switch words[1] {
	case "answer":
	case "late":
		if err := stream.SendHeader(metadata.MD{}); err != nil {
			return err
		}
	case "never":
		<-stream.Context().Done()
		return stream.Context().Err()
	case "stream":
		for ; number > 0; number-- {
			time.Sleep(20 * time.Millisecond)
			if err := stream.SendMsg(&out); err != nil {
				return err
			}
		}
		return nil
	case "sleep":
		time.Sleep(time.Duration(number) * time.Microsecond)
		out = make([]byte, 8)
		binary.BigEndian.PutUint64(out, uint64(time.Since(began)))
		number = 0
	default:
		return status.Error(codes.Unimplemented, method)
	}
	if number != 0 {
		return status.Error(codes.Code(number), "as asked")
	}
	return stream.SendMsg(&out)
}

func serve(port int) error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return grpc.NewServer(grpc.CustomCodec(raw{}), grpc.UnknownServiceHandler(handle)).Serve(listener)
}

// ---- client ----

type plan struct {
	port, number, concurrent, connections, bytes int
	rate                                         float64
	deadline, cancel, length                     time.Duration
	sleep, pause                                 string
	methods                                      []string
}

type seen struct {
	sync.Mutex
	codes          map[codes.Code]int
	served, waited []float64
}

func (s *seen) add(code codes.Code, served, waited float64) {
	s.Lock()
	defer s.Unlock()
	s.codes[code]++
	if served > 0 {
		s.served = append(s.served, served)
		s.waited = append(s.waited, waited)
	}
}

func (s *seen) waitFor(number int) {
	for all := 0; all < number; time.Sleep(10 * time.Millisecond) {
		all = 0
		s.Lock()
		for _, n := range s.codes {
			all += n
		}
		s.Unlock()
	}
}

func rest(file string) {
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		fail(err)
	}
	for _, err := os.Stat(file); err == nil; _, err = os.Stat(file) {
		time.Sleep(50 * time.Millisecond)
	}
}

func quantiles(values []float64) string {
	sort.Float64s(values)
	text := ""
	for _, q := range []float64{0.5, 0.9, 0.99} {
		text += fmt.Sprintf(" %.6f", values[int(math.Ceil(q*float64(len(values))))-1])
	}
	return text
}

// A draw of MEDIAN:SIGMA[:TAIL], of a lognormal distribution.
func draw(shape string) string {
	words := strings.Split(shape, ":")
	median, err := time.ParseDuration(words[0])
	if err != nil {
		fail(err)
	}
	numbers := []float64{0, 1}
	for i, word := range words[1:] {
		numbers[i], _ = strconv.ParseFloat(word, 64)
	}
	normal := rand.NormFloat64()
	took := float64(median) * math.Exp(normal*numbers[0])
	if normal > 2.0537 {
		took *= numbers[1]
	}
	return fmt.Sprintf("/sleep/%d", int(took/1000))
}

// Reads a stream to its end, of which unary calls are one message.
func call(ctx context.Context, connection *grpc.ClientConn, method string, in []byte) ([]byte, error) {
	desc := &grpc.StreamDesc{ServerStreams: true}
	stream, err := connection.NewStream(ctx, desc, method, grpc.ForceCodec(raw{}))
	if err != nil {
		return nil, err
	}
	// What is sent may fail as the answer is there already, which then says why.
	if err := stream.SendMsg(&in); err != nil && err != io.EOF {
		return nil, err
	}
	_ = stream.CloseSend()
	var out, last []byte
	for err = stream.RecvMsg(&out); err == nil; err = stream.RecvMsg(&out) {
		last = out
	}
	if err == io.EOF {
		err = nil
	}
	return last, err
}

func ask(p plan) {
	connections := make([]*grpc.ClientConn, p.connections)
	for i := range connections {
		var err error
		// A connection each, which the balancer would else share.
		connections[i], err = grpc.Dial(fmt.Sprintf("127.0.0.1:%d", p.port), grpc.WithInsecure(), grpc.WithBlock())
		if err != nil {
			fail(err)
		}
	}
	result := seen{codes: map[codes.Code]int{}}
	in := make([]byte, p.bytes)
	one := func(i int) {
		method := ""
		if p.sleep != "" {
			method = draw(p.sleep)
		} else {
			method = p.methods[i%len(p.methods)]
		}
		ctx, cancel := context.WithTimeout(context.Background(), p.deadline)
		defer cancel()
		if p.cancel > 0 {
			// Unlike a deadline the server does not know of this ahead.
			time.AfterFunc(p.cancel, cancel)
		}
		began := time.Now()
		out, err := call(ctx, connections[i%len(connections)], method, in)
		waited, served := time.Since(began).Seconds(), 0.0
		if len(out) == 8 {
			served = float64(binary.BigEndian.Uint64(out)) / 1e9
		}
		result.add(status.Code(err), served, waited)
	}
	var waiting sync.WaitGroup
	work := make(chan int)
	if p.rate > 0 {
		// Whenever its time has come, however many calls are open.
		begin := time.Now()
		for i := 0; i < p.number; i++ {
			time.Sleep(time.Until(begin.Add(time.Duration(float64(i) / p.rate * 1e9))))
			waiting.Add(1)
			go func(i int) {
				defer waiting.Done()
				one(i)
			}(i)
		}
	} else {
		for n := 0; n < p.concurrent; n++ {
			waiting.Add(1)
			go func() {
				defer waiting.Done()
				for i := range work {
					one(i)
				}
			}()
		}
		begin := time.Now()
		for i := 0; i < p.number && (p.length == 0 || time.Since(begin) < p.length); i++ {
			if p.pause != "" && i == p.number/2 {
				result.waitFor(i)
				rest(p.pause)
			}
			work <- i
		}
	}
	close(work)
	waiting.Wait()
	if p.cancel > 0 {
		// RST_STREAM is sent by another thread, and not at all when the connection ends first.
		time.Sleep(200 * time.Millisecond)
	}
	for _, connection := range connections {
		connection.Close()
	}
	for code, number := range result.codes {
		fmt.Println(int(code), number)
	}
	if len(result.served) > 0 {
		fmt.Println("served" + quantiles(result.served))
		fmt.Println("waited" + quantiles(result.waited))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	var p plan
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.IntVar(&p.port, "port", 0, "")
	flags.IntVar(&p.number, "number", 1, "")
	flags.IntVar(&p.concurrent, "concurrent", 1, "")
	flags.IntVar(&p.connections, "connections", 1, "")
	flags.IntVar(&p.bytes, "bytes", 0, "")
	flags.Float64Var(&p.rate, "rate", 0, "")
	flags.DurationVar(&p.deadline, "deadline", time.Minute, "")
	flags.DurationVar(&p.cancel, "cancel", 0, "")
	flags.DurationVar(&p.length, "for", 0, "")
	flags.StringVar(&p.pause, "pause", "", "")
	flags.StringVar(&p.sleep, "sleep", "", "")
	_ = flags.Parse(os.Args[2:])
	p.methods = flags.Args()
	if os.Args[1] == "serve" {
		fail(serve(p.port))
	}
	ask(p)
}
