// Package deploy holds what is in the folder deploy to what Kubernetes and Skerry take.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) { program.Main(m) }

const folder = "../../deploy/kubernetes"

// document is one object of the files.
type document struct {
	file   string
	kind   schema.GroupVersionKind
	name   string // namespace/name
	yaml   []byte
	object runtime.Object
}

// documents reads all files strictly: a key that a type does not have is an error.
func documents(t *testing.T) (out []document) {
	t.Helper()
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		base := filepath.Base(file)
		if base == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := yamlutil.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
		defer parts.Close()
		for buffer := make([]byte, 1<<16); ; {
			n, err := parts.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", base, err)
			}
			out = append(out, decode(t, types, base, bytes.Clone(buffer[:n])))
		}
	}
	return out
}

func decode(t *testing.T, types *runtime.Scheme, file string, data []byte) document {
	t.Helper()
	var what struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(data, &what); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	d := document{file: file, kind: what.GroupVersionKind(), name: what.Namespace + "/" + what.Name, yaml: data}
	object, err := types.New(d.kind)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := yaml.UnmarshalStrict(data, object); err != nil {
		t.Fatalf("%s: %s %s: %v", file, d.kind.Kind, d.name, err)
	}
	d.object = object
	return d
}

// workload is what makes pods.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
	service  string // of a StatefulSet
}

func workloadOf(d document) (w workload, ok bool) {
	switch o := d.object.(type) {
	case *appsv1.Deployment:
		return workload{name: d.name, selector: o.Spec.Selector, pod: o.Spec.Template}, true
	case *appsv1.DaemonSet:
		return workload{name: d.name, selector: o.Spec.Selector, pod: o.Spec.Template}, true
	case *appsv1.StatefulSet:
		if *o.Spec.Replicas != 1 {
			panic("a StatefulSet of several servers: their addresses change")
		}
		return workload{d.name, o.Spec.Selector, o.Spec.Template, o.Spec.VolumeClaimTemplates, o.Spec.ServiceName}, true
	}
	return workload{}, false
}

// all is the objects by "Kind namespace/name".
func all(t *testing.T) (map[string]document, []workload) {
	t.Helper()
	byName := map[string]document{}
	var workloads []workload
	for _, d := range documents(t) {
		name := d.kind.Kind + " " + d.name
		if _, twice := byName[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		byName[name] = d
		if w, ok := workloadOf(d); ok {
			workloads = append(workloads, w)
		}
	}
	if len(workloads) != 5 {
		t.Errorf("%d workloads", len(workloads))
	}
	return byName, workloads
}

// What the files name is there.
func TestReferences(t *testing.T) {
	objects, workloads := all(t)
	has := func(who, kind, name string) {
		t.Helper()
		if _, ok := objects[kind+" skerry/"+name]; !ok {
			t.Errorf("%s names the %s %s, which is not there", who, kind, name)
		}
	}
	for _, w := range workloads {
		if !matches(t, w.selector, w.pod.Labels) {
			t.Errorf("%s does not select its pods", w.name)
		}
		if a := w.pod.Spec.ServiceAccountName; a != "" {
			has(w.name, "ServiceAccount", a)
		}
		if w.service != "" {
			has(w.name, "Service", w.service)
		}
		volumes := map[string]bool{}
		for _, v := range w.pod.Spec.Volumes {
			volumes[v.Name] = true
			if v.ConfigMap != nil {
				has(w.name, "ConfigMap", v.ConfigMap.Name)
			}
		}
		for _, c := range w.claims {
			volumes[c.Name] = true
		}
		for _, c := range w.pod.Spec.Containers {
			container(t, w.name, c, volumes)
		}
	}
	for name, d := range objects {
		switch o := d.object.(type) {
		case *corev1.Service:
			selected(t, name, o, workloads)
		case *networkingv1.NetworkPolicy:
			admitted(t, name, o, workloads)
		case *rbacv1.RoleBinding:
			has(name, o.RoleRef.Kind, o.RoleRef.Name)
			for _, s := range o.Subjects {
				has(name, s.Kind, s.Name)
			}
		case *rbacv1.ClusterRoleBinding:
			if _, ok := objects[o.RoleRef.Kind+" /"+o.RoleRef.Name]; !ok {
				t.Errorf("%s names %s, which is not there", name, o.RoleRef.Name)
			}
			for _, s := range o.Subjects {
				has(name, s.Kind, s.Name)
			}
		}
	}
}

func matches(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(of))
}

// container checks a container's probes, volumes and variables.
func container(t *testing.T, who string, c corev1.Container, volumes map[string]bool) {
	t.Helper()
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s mounts %s, which is no volume", who, m.Name)
		}
	}
	variables := map[string]bool{}
	for _, e := range c.Env {
		variables[e.Name] = true
	}
	for _, arg := range c.Args {
		for rest := arg; ; {
			_, after, found := strings.Cut(rest, "$(")
			if !found {
				break
			}
			name, end, _ := strings.Cut(after, ")")
			if !variables[name] {
				t.Errorf("%s: %s: there is no variable %s", who, arg, name)
			}
			rest = end
		}
	}
	for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
		switch {
		case p == nil:
		case p.GRPC != nil:
			hasPort(t, who+"'s probe", c, intstr.FromInt32(p.GRPC.Port))
		default:
			hasPort(t, who+"'s probe", c, p.HTTPGet.Port)
		}
	}
}

func hasPort(t *testing.T, who string, c corev1.Container, want intstr.IntOrString) bool {
	t.Helper()
	if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return p.Name == want.StrVal && want.Type == intstr.String || p.ContainerPort == want.IntVal && want.Type == intstr.Int
	}) {
		t.Errorf("%s uses the port %s, which %s does not have", who, want.String(), c.Name)
		return false
	}
	return true
}

// selected checks that a service is one workload's, and that this has its ports.
func selected(t *testing.T, name string, s *corev1.Service, workloads []workload) {
	t.Helper()
	found := 0
	for _, w := range workloads {
		if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.pod.Labels)) {
			continue
		}
		found++
		for _, p := range s.Spec.Ports {
			hasPort(t, name, w.pod.Spec.Containers[0], p.TargetPort)
		}
	}
	if found != 1 {
		t.Errorf("%s selects the pods of %d workloads", name, found)
	}
}

// admitted checks that a policy is for one workload's pods, and names its ports and the pods of others.
func admitted(t *testing.T, name string, p *networkingv1.NetworkPolicy, workloads []workload) {
	t.Helper()
	pods := func(s *metav1.LabelSelector) (out []workload) {
		for _, w := range workloads {
			if matches(t, s, w.pod.Labels) {
				out = append(out, w)
			}
		}
		if len(out) != 1 {
			t.Errorf("%s selects the pods of %d workloads", name, len(out))
		}
		return out
	}
	for _, w := range pods(&p.Spec.PodSelector) {
		for _, in := range p.Spec.Ingress {
			for _, port := range in.Ports {
				hasPort(t, name, w.pod.Spec.Containers[0], *port.Port)
			}
			for _, from := range in.From {
				pods(from.PodSelector)
			}
		}
	}
}

// Agents join the pods of the StatefulSet by names that its headless service gives them, at the port where the
// server listens for other pods; and only they reach it.
func TestAgentsJoinTheServers(t *testing.T) {
	objects, _ := all(t)
	load := func(name, key string) *config.Config {
		t.Helper()
		text := objects["ConfigMap skerry/"+name].object.(*corev1.ConfigMap).Data[key]
		c, _, err := config.Load(config.Source{HCL: []string{text}, Flags: map[string]any{"node_name": "n"}})
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server, agent := load("skerry", "skerry.hcl"), load("skerry-agent", "agent.hcl")
	if at := server.AgentsBind(); at != "0.0.0.0" {
		t.Errorf("the server listens for agents on %q", at)
	}
	set := objects["StatefulSet skerry/skerry"].object.(*appsv1.StatefulSet)
	service := objects["Service skerry/"+set.Spec.ServiceName].object.(*corev1.Service)
	if service.Spec.ClusterIP != corev1.ClusterIPNone || !service.Spec.PublishNotReadyAddresses {
		t.Errorf("the service %s gives no pod a name before it is ready", service.Name)
	}
	var want []string
	for n := range *set.Spec.Replicas {
		want = append(want, fmt.Sprintf("%s-%d.%s.%s:%d", set.Name, n, service.Name, set.Namespace, server.Ports.Server))
	}
	if got, err := agent.JoinAddresses(); err != nil || !slices.Equal(got, want) {
		t.Errorf("agents join %v, %v, want %v", got, err, want)
	}
	c := set.Spec.Template.Spec.Containers[0]
	if hasPort(t, "the server", c, intstr.FromInt(server.Ports.Server)) && !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return int(p.Port) == server.Ports.Server }) {
		t.Errorf("the service %s lacks the port for agents", service.Name)
	}
	policy := objects["NetworkPolicy skerry/skerry"].object.(*networkingv1.NetworkPolicy)
	for _, in := range policy.Spec.Ingress {
		open := len(in.From) == 0 && slices.ContainsFunc(in.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.StrVal == "server" })
		if open || len(in.Ports) == 0 {
			t.Error("every pod reaches the port for agents")
		}
	}
}

// The kustomization takes what is there.
func TestKustomization(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		metav1.TypeMeta `json:",inline"`
		Namespace       string
		Resources       []string
		Images          []struct{ Name, NewTag string }
	}
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatal(err)
	}
	for _, r := range k.Resources {
		if _, err := os.Stat(filepath.Join(folder, r)); err != nil {
			t.Error(err)
		}
	}
	images := map[string]bool{}
	_, workloads := all(t)
	for _, w := range workloads {
		name, _, _ := strings.Cut(w.pod.Spec.Containers[0].Image, ":")
		images[name] = true
	}
	for _, i := range k.Images {
		delete(images, i.Name)
	}
	if len(images) > 0 {
		t.Errorf("images without a tag: %v", slices.Collect(maps.Keys(images)))
	}
}

// The configuration of the servers and agents is what the binary takes, without a
// warning.
func TestConfiguration(t *testing.T) {
	objects, _ := all(t)
	checked := 0
	for name, d := range objects {
		c, ok := d.object.(*corev1.ConfigMap)
		if !ok {
			continue
		}
		for key, text := range c.Data {
			file := filepath.Join(t.TempDir(), key)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(skerry(t), "validate", file).CombinedOutput()
			if err != nil || bytes.Contains(out, []byte("warning")) {
				t.Errorf("%s: %s: %v\n%s", name, key, err, out)
			}
			checked++
		}
	}
	if checked != 2 {
		t.Errorf("%d configurations", checked)
	}
}

func skerry(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(program.EnvBinary); path != "" {
		return path
	}
	return program.Build(t, "../..", "./cmd/skerry")
}
