// crdgen prints the CustomResourceDefinitions of the API types in some Go packages as a JSON list, with the
// generator of controller-gen (sigs.k8s.io/controller-tools), run in the module that the packages belong to.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/controller-tools/pkg/crd"
	"sigs.k8s.io/controller-tools/pkg/genall"
	"sigs.k8s.io/controller-tools/pkg/loader"
	"sigs.k8s.io/yaml"
)

func main() {
	crds, err := generate(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(crds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func generate(packages []string) ([]json.RawMessage, error) {
	descriptions := 0 // a lab serves the kinds, nobody reads them there
	var generator genall.Generator = crd.Generator{CRDVersions: []string{"v1"}, MaxDescLen: &descriptions}
	generators := genall.Generators{&generator}
	runtime, err := generators.ForRoots(packages...)
	if err != nil {
		return nil, err
	}
	out := &outputs{}
	runtime.OutputRules = genall.OutputRules{Default: out}
	runtime.ErrorWriter = os.Stderr
	if failed := runtime.Run(); failed {
		return nil, errors.New("the packages cannot be read")
	}
	return out.list()
}

// outputs keeps the files that the generator writes, one for each kind.
type outputs struct {
	files []*file
}

type file struct {
	bytes.Buffer
}

// Close is part of io.WriteCloser; what was written stays.
func (*file) Close() error { return nil }

// Open begins a file.
func (o *outputs) Open(*loader.Package, string) (io.WriteCloser, error) {
	opened := &file{}
	o.files = append(o.files, opened)
	return opened, nil
}

func (o *outputs) list() ([]json.RawMessage, error) {
	found := []json.RawMessage{}
	for _, written := range o.files {
		asJSON, err := yaml.YAMLToJSON(written.Bytes())
		if err != nil {
			return nil, err
		}
		found = append(found, asJSON)
	}
	return found, nil
}
