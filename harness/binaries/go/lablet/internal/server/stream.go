package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"lblab/lablet/internal/clock"
)

const (
	lineLimit   = 16 << 10 // longest HTTP line, and the piece in which other bytes are echoed
	headerLimit = 100      // most header lines of a request
	bodyLimit   = 1 << 20  // largest request body that is read to keep the connection
)

// ProbeLine starts a line of the TCP prober; the echo of such a line gets the server's receive and send stamps appended.
const ProbeLine = "LBLB "

func (s *Server) serveStreams(ctx context.Context, listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, or a connection that was reset before it was accepted
			continue
		}
		go s.serveStream(ctx, connection.(*net.TCPConn))
	}
}

// serveStream speaks HTTP when the first line is a request line, and echoes lines otherwise.
func (s *Server) serveStream(ctx context.Context, connection *net.TCPConn) {
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	reader := bufio.NewReaderSize(connection, lineLimit)
	first, err := readLine(reader)
	if err != nil {
		return
	}
	if !isRequestLine(first) {
		s.echo(connection, reader, first)
		return
	}
	for keep := true; keep; {
		var answer []byte
		if answer, keep, err = s.answer(connection, reader, first); err != nil {
			return
		}
		if _, err = connection.Write(answer); err != nil || !keep {
			return
		}
		if first, err = readLine(reader); err != nil {
			return
		}
	}
}

// echo says once who answers, then returns every line; stamps are appended to the TCP prober's lines.
func (s *Server) echo(connection *net.TCPConn, reader *bufio.Reader, line []byte) {
	client, port := endpoints(connection)
	reply := append(s.identify(client, port), '\n')
	var err error
	for err == nil {
		received := clock.Now()
		if bytes.HasPrefix(line, []byte(ProbeLine)) {
			reply = append(reply, bytes.TrimRight(line, "\r\n")...)
			reply = fmt.Appendf(reply, " %d %d\n", received, clock.Now())
		} else {
			reply = append(reply, line...)
		}
		if _, err = connection.Write(reply); err != nil {
			return
		}
		reply = reply[:0]
		line, err = readLine(reader)
	}
}

// readLine returns a line with its end, or what there is of it when it is longer than lineLimit or the stream ends.
func readLine(reader *bufio.Reader) ([]byte, error) {
	line, err := reader.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) && len(line) > 0 {
		return line, nil
	}
	return line, err
}

func isRequestLine(line []byte) bool {
	words := bytes.Fields(line)
	return len(words) == 3 && bytes.HasPrefix(words[2], []byte("HTTP/1."))
}

// answer reads the rest of an HTTP request and returns the answer to it and whether the connection goes on.
func (s *Server) answer(connection *net.TCPConn, reader *bufio.Reader, requestLine []byte) ([]byte, bool, error) {
	words := strings.Fields(string(requestLine))
	if len(words) != 3 {
		return []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), false, nil
	}
	method, path, keep := words[0], words[1], words[2] != "HTTP/1.0"
	html, length := false, 0
	for lines := 0; ; lines++ {
		line, err := readLine(reader)
		if err != nil {
			return nil, false, err
		}
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), ":")
		if !found {
			break // the empty line
		}
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(name) {
		case "connection":
			keep = keep && value != "close" || value == "keep-alive"
		case "accept":
			html = prefersHTML(value)
		case "content-length":
			length, err = strconv.Atoi(value)
			keep = keep && err == nil && length >= 0 && length <= bodyLimit
		case "transfer-encoding":
			keep = false // such a body is not read
		}
		if lines == headerLimit {
			return nil, false, errors.New("too many header lines")
		}
	}
	if keep {
		if _, err := reader.Discard(length); err != nil {
			return nil, false, err
		}
	}
	return s.response(connection, method, html && path == "/", keep), keep, nil
}

func (s *Server) response(connection *net.TCPConn, method string, html, keep bool) []byte {
	status := "200 OK"
	if s.unready.Load() {
		status = "503 Service Unavailable"
	}
	client, port := endpoints(connection)
	body, kind := append(s.identify(client, port), '\n'), "application/json"
	if html {
		body, kind = s.page(string(body)), "text/html; charset=utf-8"
	}
	var response bytes.Buffer
	fmt.Fprintf(&response, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", status, kind, len(body))
	fmt.Fprintf(&response, "X-Lblab-Node: %s\r\nX-Lblab-Pod: %s\r\n", headerValue(s.Node), headerValue(s.Pod))
	if !keep {
		response.WriteString("Connection: close\r\n")
	}
	response.WriteString("\r\n")
	if method != "HEAD" {
		response.Write(body)
	}
	return response.Bytes()
}

func (s *Server) page(identity string) []byte {
	return fmt.Appendf(nil, "<!doctype html><title>%[1]s</title><h1>%[1]s</h1><p>on node <b>%[2]s</b></p><pre>%[3]s</pre>\n",
		html.EscapeString(s.Pod), html.EscapeString(s.Node), html.EscapeString(identity))
}

// prefersHTML says whether a browser asks: text/html stands in its Accept header before any JSON.
func prefersHTML(accept string) bool {
	page, json := strings.Index(accept, "text/html"), strings.Index(accept, "application/json")
	return page >= 0 && (json < 0 || page < json)
}

// headerValue keeps a name from ending its header line.
func headerValue(text string) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(text)
}

// endpoints are the client's address as the server sees it, and the server's port.
func endpoints(connection *net.TCPConn) (client netip.AddrPort, port int) {
	return connection.RemoteAddr().(*net.TCPAddr).AddrPort(), connection.LocalAddr().(*net.TCPAddr).Port
}
