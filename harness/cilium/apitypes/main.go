// Command apitypes lists the kinds and fields of the API types in a Cilium source tree, one a line:
//
//	cilium.io/v2 CiliumBGPPeerConfig
//	cilium.io/v2 CiliumBGPPeerConfig spec.timers.holdTimeSeconds
//
// It reads the Go types, out of which Cilium generates its CRDs. Fields are listed for the kinds named on the command
// line; a field whose type belongs to another package (a label selector) is a leaf.
//
// Usage: apitypes SOURCE KIND...
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

type declared map[string]*ast.TypeSpec

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: apitypes SOURCE KIND...")
	}
	for _, version := range []string{"v2", "v2alpha1"} {
		types, err := parse(filepath.Join(os.Args[1], "pkg/k8s/apis/cilium.io", version))
		if err != nil {
			log.Fatal(err)
		}
		for name, spec := range types.kinds() {
			fmt.Printf("cilium.io/%s %s\n", version, name)
			if spec != nil && slices.Contains(os.Args[2:], name) {
				types.fields(spec, "spec", nil, func(path string) {
					fmt.Printf("cilium.io/%s %s %s\n", version, name, path)
				})
			}
		}
	}
}

// parse reads the type declarations of a package's folder.
func parse(folder string) (declared, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no Go files in %s", folder)
	}
	types := declared{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			if spec, ok := node.(*ast.TypeSpec); ok {
				types[spec.Name.Name] = spec
			}
			return true
		})
	}
	return types, nil
}

// kinds gives the structs that embed metav1.TypeMeta, with the type of their Spec (nil without one), lists left out.
func (d declared) kinds() map[string]ast.Expr {
	kinds := map[string]ast.Expr{}
	for name, spec := range d {
		body, ok := spec.Type.(*ast.StructType)
		if !ok || !strings.HasPrefix(name, "Cilium") {
			continue
		}
		var isKind, isList bool
		var specType ast.Expr
		for _, field := range body.Fields.List {
			if selector, ok := field.Type.(*ast.SelectorExpr); ok && len(field.Names) == 0 {
				isKind = isKind || selector.Sel.Name == "TypeMeta"
				isList = isList || selector.Sel.Name == "ListMeta"
			}
			for _, fieldName := range field.Names {
				if fieldName.Name == "Spec" {
					specType = field.Type
				}
			}
		}
		if isKind && !isList {
			kinds[name] = specType
		}
	}
	return kinds
}

// fields calls found with the JSON path of every field below a type; within guards against types that hold themselves.
func (d declared) fields(expr ast.Expr, path string, within []string, found func(string)) {
	switch node := expr.(type) {
	case *ast.StarExpr:
		d.fields(node.X, path, within, found)
	case *ast.ArrayType:
		d.fields(node.Elt, path+"[]", within, found)
	case *ast.Ident:
		if spec, ok := d[node.Name]; ok && !slices.Contains(within, node.Name) {
			d.fields(spec.Type, path, append(slices.Clone(within), node.Name), found)
		}
	case *ast.StructType:
		for _, field := range node.Fields.List {
			name := ""
			if field.Tag != nil {
				tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
				name, _, _ = strings.Cut(tag, ",")
			}
			switch name {
			case "-":
			case "": // embedded
				d.fields(field.Type, path, within, found)
			default:
				found(path + "." + name)
				d.fields(field.Type, path+"."+name, within, found)
			}
		}
	}
}
