// Checks manifests as an API server that has Envoy Gateway's custom resources would: schema, unknown members, rules in CEL.
// Reads a JSON list of objects from stdin, writes a JSON list with one list of complaints for each. The schemas are those that Envoy Gateway's own
// module exports: they are compiled in, and nothing of them lies in this project.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/envoyproxy/gateway"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	limits "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type checker struct {
	structural *schema.Structural
	schemas    validation.SchemaValidator
	rules      *cel.Validator
}

func main() {
	var objects []map[string]any
	input, err := io.ReadAll(os.Stdin)
	must(err)
	must(json.Unmarshal(input, &objects))
	definitions := definitions()
	complaints := make([][]string, 0, len(objects))
	for _, object := range objects {
		complaints = append(complaints, check(definitions, object))
	}
	output, err := json.Marshal(complaints)
	must(err)
	_, err = os.Stdout.Write(output)
	must(err)
}

func check(definitions map[string]*apiextensions.JSONSchemaProps, object map[string]any) []string {
	name := fmt.Sprintf("%v %v", object["apiVersion"], object["kind"])
	definition, known := definitions[name]
	if !known {
		return []string{"no such resource: " + name}
	}
	checker := newChecker(definition)
	complaints := []string{}
	// Takes away what is unknown: so on a copy of what defaults are then put into.
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, checker.structural, true, options) {
		complaints = append(complaints, path+": no such member")
	}
	defaulting.Default(object, checker.structural)
	found := validation.ValidateCustomResource(nil, object, checker.schemas)
	ofRules, _ := checker.rules.Validate(context.Background(), nil, checker.structural, object, nil, limits.RuntimeCELCostBudget)
	for _, complaint := range append(found, ofRules...) {
		complaints = append(complaints, complaint.Error())
	}
	return complaints
}

func newChecker(definition *apiextensions.JSONSchemaProps) checker {
	structural, err := schema.NewStructural(definition)
	must(err)
	schemas, _, err := validation.NewSchemaValidator(definition)
	must(err)
	return checker{structural, schemas, cel.NewValidator(structural, true, limits.PerCallLimit)}
}

// definitions finds the schema of each served version, by apiVersion and kind.
func definitions() map[string]*apiextensions.JSONSchemaProps {
	found := map[string]*apiextensions.JSONSchemaProps{}
	for _, document := range strings.Split(string(envoygateway.GatewayCRDs), "\n---") {
		var definition v1.CustomResourceDefinition
		must(yaml.Unmarshal([]byte(document), &definition))
		if definition.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, version := range definition.Spec.Versions {
			if !version.Served {
				continue
			}
			internal := &apiextensions.JSONSchemaProps{}
			must(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, internal, nil))
			found[definition.Spec.Group+"/"+version.Name+" "+definition.Spec.Names.Kind] = internal
		}
	}
	return found
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "crds:", err)
		os.Exit(1)
	}
}
