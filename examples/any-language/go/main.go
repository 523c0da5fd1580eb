// Serves the scorecard as a model: gRPC and the messages of proto/rendezvous/v1, no SDK.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "scorecard/rendezvous/v1"
)

var (
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	traceForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

var statuses = map[pb.ErrorCode]codes.Code{ // others that this server gives are INVALID_ARGUMENT
	pb.ErrorCode_ERROR_CODE_UNKNOWN_ENDPOINT: codes.NotFound,
	pb.ErrorCode_ERROR_CODE_UNKNOWN_MODEL:    codes.NotFound,
	pb.ErrorCode_ERROR_CODE_MODEL_FAILED:     codes.Internal,
}

type model struct {
	pb.UnimplementedScoreServer
	endpoint, name, version string
}

func (m *model) Describe(ctx context.Context, request *pb.DescribeRequest) (*pb.ModelInfo, error) {
	if refusal := m.checkEndpoint(request.Endpoint); refusal != nil {
		return nil, fail(ctx, refusal)
	}
	info := &pb.ModelInfo{
		Name: m.name, Version: m.version, Language: "go", Runtime: runtime.Version(),
		Signature: &pb.Signature{Inputs: inputs, Outputs: outputs},
		Task:      "classification", Labels: labels, Description: "A scorecard of hand-written rules.",
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			info.Packages = append(info.Packages, &pb.Package{Name: module.Path, Version: module.Version})
		}
	}
	return info, nil
}

func (m *model) Score(ctx context.Context, request *pb.ScoreRequest) (*pb.ScoreReply, error) {
	reply := m.answer(ctx, request)
	if reply.Error != nil {
		return nil, fail(ctx, reply.Error)
	}
	return reply, nil
}

// ScoreStream answers in the order asked: scoring takes microseconds, so nothing is won by more goroutines.
func (m *model) ScoreStream(stream pb.Score_ScoreStreamServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.Send(m.answer(stream.Context(), request)); err != nil {
			return err
		}
	}
}

// answer never fails: what is wrong is in the reply, as ScoreStream sends it.
func (m *model) answer(ctx context.Context, request *pb.ScoreRequest) *pb.ScoreReply {
	received := time.Now().UnixMicro()
	reply := &pb.ScoreReply{RequestId: request.RequestId, Model: m.name, Version: m.version}
	reply.Traceparent = traceparent(ctx, request)
	columns, refusal := m.check(request)
	if refusal != nil {
		reply.Error = refusal
		return reply
	}
	if reply.RequestId == "" {
		reply.RequestId = uuid.Must(uuid.NewV7()).String()
	}
	started := time.Now().UnixMicro()
	reply.Outputs, reply.Error = scoreSafely(columns, request.Inputs.Rows)
	reply.Timing = &pb.Timing{ReceivedUnixUs: received, StartedUnixUs: started, FinishedUnixUs: time.Now().UnixMicro()}
	return reply
}

// scoreSafely turns a panic of the model into an answer: one bad request must not end the process.
func scoreSafely(columns map[string]column, rows int64) (frame *pb.Frame, failure *pb.Error) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("the model panicked: %v\n%s", cause, debug.Stack())
			kind := fmt.Sprintf("%T", cause)
			text := strings.Join(strings.Fields(strings.ToValidUTF8(fmt.Sprint(cause), "?")), " ")
			failure = refuse(pb.ErrorCode_ERROR_CODE_MODEL_FAILED, "", "the model raised %s: %.300s", kind, text)
			failure.Attributes = map[string]string{"exception": kind}
		}
	}()
	return &pb.Frame{Rows: rows, Columns: score(columns, int(rows))}, nil
}

func (m *model) check(request *pb.ScoreRequest) (map[string]column, *pb.Error) {
	if id := request.RequestId; id != "" && !nameForm.MatchString(id) {
		return nil, refuse(pb.ErrorCode_ERROR_CODE_INVALID_REQUEST, "",
			"request id %.80q is not allowed: use 1 to 64 of A-Z a-z 0-9 _ -", id)
	}
	if refusal := m.checkEndpoint(request.Endpoint); refusal != nil {
		return nil, refusal
	}
	if forced := request.GetDiagnostics().GetForceModel(); forced != "" && forced != m.name {
		return nil, refuse(pb.ErrorCode_ERROR_CODE_UNKNOWN_MODEL, "",
			"model %.80q was asked for; here is only %q", forced, m.name)
	}
	if refusal := checkFrame(request.Inputs); refusal != nil {
		return nil, refusal
	}
	rows := request.GetInputs().GetRows()
	if rows < 1 {
		return nil, refuse(pb.ErrorCode_ERROR_CODE_INVALID_FRAME, "", "the request has %d rows: send at least 1", rows)
	}
	if rows > maxRows {
		return nil, refuse(pb.ErrorCode_ERROR_CODE_TOO_LARGE, "",
			"the request has %d rows; the limit is %d: send it in parts", rows, maxRows)
	}
	return checkSignature(request.Inputs)
}

func (m *model) checkEndpoint(endpoint string) *pb.Error {
	if endpoint == "" || endpoint == m.endpoint || endpoint == m.name {
		return nil
	}
	return refuse(pb.ErrorCode_ERROR_CODE_UNKNOWN_ENDPOINT, "",
		"endpoint %.80q is not served here; here is model %q of endpoint %q", endpoint, m.name, m.endpoint)
}

// traceparent is the request's own, unchanged, since no span is made here; empty if there is none or it is malformed.
func traceparent(ctx context.Context, request *pb.ScoreRequest) string {
	parent := request.Traceparent
	if parent == "" {
		if fields := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(fields) == 1 {
			parent = fields[0]
		}
	}
	if !traceForm.MatchString(parent) || strings.HasPrefix(parent, "ff") ||
		parent[3:35] == strings.Repeat("0", 32) || parent[36:52] == strings.Repeat("0", 16) {
		return ""
	}
	return parent
}

// fail turns an error into the call's status; programs read the whole of it from the trailing metadata.
func fail(ctx context.Context, failure *pb.Error) error {
	if whole, err := proto.Marshal(failure); err == nil {
		err = grpc.SetTrailer(ctx, metadata.Pairs("rendezvous-error-bin", string(whole)))
		if err != nil {
			log.Printf("no trailing metadata: %v", err)
		}
	}
	code, ok := statuses[failure.Code]
	if !ok {
		code = codes.InvalidArgument
	}
	return status.Error(code, failure.Message)
}

const grace = 5 * time.Second

func setting(name, otherwise string) string {
	if value := os.Getenv("RENDEZVOUS_" + name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	listener, err := net.Listen("tcp", net.JoinHostPort(setting("GRPC_HOST", "127.0.0.1"), setting("GRPC_PORT", "0")))
	if err != nil {
		log.Fatalf("cannot listen: %v; choose another RENDEZVOUS_GRPC_PORT, or 0 for a free one", err)
	}
	m := &model{endpoint: setting("ENDPOINT", "scorecard"), name: setting("MODEL", "go"), version: setting("VERSION", "1")}
	// Clients ping every 30 s; without this gRPC takes that for an attack and closes the connection.
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(
		keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	pb.RegisterScoreServer(server, m)
	alive := health.NewServer()
	alive.SetServingStatus(pb.Score_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, alive)
	reflection.Register(server)

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-signals
		alive.Shutdown() // NOT_SERVING, so that callers go elsewhere
		go func() {      // open streams may never end by themselves
			select {
			case <-signals:
			case <-time.After(grace):
			}
			server.Stop()
		}()
		server.GracefulStop()
	}()
	fmt.Printf("ready: model %s:%s of endpoint %s, replica %s-%d, grpc %s\n",
		m.name, m.version, m.endpoint, m.name, os.Getpid(), listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatalf("the server ended: %v", err)
	}
	<-drained
}
