// Package kubetest is an API server of a few kinds for tests: it stores objects as JSON, hands out resource versions,
// merges patches (RFC 7386; also strategic ones, as the agent sends whole lists) and serves watches.
package kubetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"lblab/node-agent/internal/kube"
)

// Object is a Kubernetes object as JSON.
type Object = map[string]any

// Server is the API server. Its collections must be known: others answer 404, as a missing CRD or namespace does.
type Server struct {
	t    *testing.T
	http *httptest.Server

	mu          sync.Mutex
	collections map[string]map[string]Object // path -> name -> object
	version     int
	watches     map[chan event]string // -> path of the collection
	history     []past
	requests    []string // "METHOD path", without reads
}

type event struct {
	Type   string `json:"type"`
	Object Object `json:"object"`
}

// past is an event that a watch from an earlier resource version still gets.
type past struct {
	version    int
	collection string
	event      event
}

// New starts a server with the given collections, such as "/api/v1/nodes".
func New(t *testing.T, collections ...string) *Server {
	s := &Server{t: t, collections: map[string]map[string]Object{}, watches: map[chan event]string{}}
	for _, path := range collections {
		s.AddCollection(path)
	}
	s.http = httptest.NewServer(s)
	t.Cleanup(func() { s.Stop() })
	return s
}

// Client returns a client of the server.
func (s *Server) Client() *kube.Client {
	client, err := kube.NewForConfig(&rest.Config{Host: s.http.URL})
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// AddCollection makes a kind known.
func (s *Server) AddCollection(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[path] = map[string]Object{}
}

// Stop goes away as a killed server does: all connections break. What is stored stays.
func (s *Server) Stop() {
	s.http.CloseClientConnections()
	s.mu.Lock()
	for watch := range s.watches {
		delete(s.watches, watch)
		close(watch)
	}
	s.mu.Unlock()
	s.http.Close()
}

// Start comes back at the same address.
func (s *Server) Start() {
	listener, err := net.Listen("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Listener.Close()
	s.http.Listener = listener
	s.http.Start()
}

// Put stores an object as it is; watches see it.
func (s *Server) Put(collection string, object any) {
	data, err := json.Marshal(object)
	if err != nil {
		s.t.Fatal(err)
	}
	var stored Object
	if err := json.Unmarshal(data, &stored); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "MODIFIED"
	if s.collections[collection][name(stored)] == nil {
		kind = "ADDED"
	}
	s.store(collection, kind, stored)
}

// Read decodes an object into out and tells whether there is one.
func (s *Server) Read(collection, name string, out any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.collections[collection][name]
	if object == nil {
		return false
	}
	data, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return true
}

// Remove deletes an object; watches see it.
func (s *Server) Remove(collection, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(collection, name)
}

func (s *Server) remove(collection, name string) {
	if object := s.collections[collection][name]; object != nil {
		delete(s.collections[collection], name)
		s.version++
		s.tell(collection, event{"DELETED", object})
	}
}

// Writes returns the write requests so far, as "METHOD path".
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.requests...)
}

func name(object Object) string { return object["metadata"].(Object)["name"].(string) }

// store keeps an object under a new resource version; the mutex is held.
func (s *Server) store(collection, kind string, object Object) {
	s.version++
	metadata := object["metadata"].(Object)
	metadata["resourceVersion"] = fmt.Sprint(s.version)
	if metadata["uid"] == nil {
		metadata["uid"] = fmt.Sprintf("00000000-0000-0000-0000-%012d", s.version)
	}
	s.collections[collection][name(object)] = object
	s.tell(collection, event{kind, clone(object)})
}

func (s *Server) tell(collection string, happened event) {
	s.history = append(s.history, past{s.version, collection, happened})
	for watch, path := range s.watches {
		if path == collection {
			watch <- happened
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	collection, name := s.resolve(r.URL.Path)
	objects, known := s.collections[collection]
	if r.Method != http.MethodGet {
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	}
	if !known || name != "" && objects[name] == nil {
		s.mu.Unlock()
		refuse(w, http.StatusNotFound, "NotFound")
		return
	}
	if r.URL.Query().Get("watch") == "true" {
		watch := make(chan event, 1000)
		since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
		for _, past := range s.history {
			if past.collection == collection && past.version > since {
				watch <- past.event
			}
		}
		s.watches[watch] = collection
		s.mu.Unlock()
		s.serveWatch(w, r, watch)
		return
	}
	defer s.mu.Unlock()
	s.serve(w, r, collection, name)
}

// resolve splits a path into a known collection and the name of an object in it, if any.
func (s *Server) resolve(path string) (collection, name string) {
	path = strings.TrimSuffix(path, "/status")
	if _, known := s.collections[path]; known {
		return path, ""
	}
	at := strings.LastIndexByte(path, '/')
	collection, name = path[:at], path[at+1:]
	if _, known := s.collections[collection]; !known {
		// Pods are written by namespace and watched over all of them: here there is one namespace.
		collection = strings.Replace(collection, "/namespaces/default", "", 1)
	}
	return collection, name
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, collection, target string) {
	var body Object
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, "BadRequest")
			return
		}
	}
	objects := s.collections[collection]
	switch {
	case r.Method == http.MethodGet && target == "":
		items := []Object{}
		for _, object := range objects {
			items = append(items, object)
		}
		reply(w, Object{"metadata": Object{"resourceVersion": fmt.Sprint(s.version)}, "items": items})
		return
	case r.Method == http.MethodPost && objects[name(body)] != nil:
		refuse(w, http.StatusConflict, "AlreadyExists")
		return
	case r.Method == http.MethodPost:
		s.store(collection, "ADDED", body)
		target = name(body)
	case r.Method == http.MethodPatch && !samePrecondition(body, objects[target]):
		refuse(w, http.StatusConflict, "Conflict")
		return
	case r.Method == http.MethodPatch:
		s.store(collection, "MODIFIED", merge(clone(objects[target]), body))
	case r.Method == http.MethodPut:
		s.store(collection, "MODIFIED", body)
	case r.Method == http.MethodDelete:
		s.remove(collection, target)
		reply(w, Object{"kind": "Status"})
		return
	}
	reply(w, objects[target])
}

func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request, watch chan event) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	encoder := json.NewEncoder(w)
	for {
		select {
		case happened, open := <-watch:
			if !open || encoder.Encode(happened) != nil {
				return
			}
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			s.mu.Lock()
			delete(s.watches, watch)
			s.mu.Unlock()
			return
		}
	}
}

// samePrecondition checks the uid and resourceVersion that a patch may name.
func samePrecondition(patch, object Object) bool {
	wanted, _ := patch["metadata"].(Object)
	for _, field := range []string{"uid", "resourceVersion"} {
		if value := wanted[field]; value != nil && value != object["metadata"].(Object)[field] {
			return false
		}
	}
	return true
}

func merge(object, patch Object) Object {
	for key, value := range patch {
		inner, isObject := value.(Object)
		switch {
		case value == nil:
			delete(object, key)
		case isObject:
			current, _ := object[key].(Object)
			if current == nil {
				current = Object{}
			}
			object[key] = merge(current, inner)
		default:
			object[key] = withoutDirectives(value)
		}
	}
	return object
}

// withoutDirectives drops the {"$patch": "replace"} of a strategic merge patch: here lists are always replaced.
func withoutDirectives(value any) any {
	list, isList := value.([]any)
	if !isList {
		return value
	}
	rest := []any{}
	for _, item := range list {
		if object, isObject := item.(Object); !isObject || object["$patch"] == nil {
			rest = append(rest, item)
		}
	}
	return rest
}

// clone copies the maps of an object, not its lists, which nobody changes in place.
func clone(object Object) Object {
	copied := maps.Clone(object)
	for key, value := range copied {
		if inner, isObject := value.(Object); isObject {
			copied[key] = clone(inner)
		}
	}
	return copied
}

func reply(w http.ResponseWriter, object Object) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(Object{"kind": "Status", "code": code, "reason": reason, "message": reason})
}
