package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v2"
)

// What deploy/kubernetes uses of Kubernetes' API, with its names (https://kubernetes.io/docs/reference/kubernetes-api/):
// a field that is not here is an error, so that a new one is looked up and a misspelt one found.
type (
	manifest struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   meta              `yaml:"metadata"`
		Type       string            `yaml:"type"`
		StringData map[string]string `yaml:"stringData"`
		Spec       spec              `yaml:"spec"`
	}
	meta struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	// spec is that of a Service, a PodDisruptionBudget or a StatefulSet; of the selector both forms.
	spec struct {
		ClusterIP                string         `yaml:"clusterIP"`
		PublishNotReadyAddresses bool           `yaml:"publishNotReadyAddresses"`
		Ports                    []servicePort  `yaml:"ports"`
		Selector                 map[string]any `yaml:"selector"`
		MaxUnavailable           int            `yaml:"maxUnavailable"`
		ServiceName              string         `yaml:"serviceName"`
		Replicas                 int            `yaml:"replicas"`
		PodManagementPolicy      string         `yaml:"podManagementPolicy"`
		UpdateStrategy           struct {
			Type string `yaml:"type"`
		} `yaml:"updateStrategy"`
		Template struct {
			Metadata meta `yaml:"metadata"`
			Spec     pod  `yaml:"spec"`
		} `yaml:"template"`
		VolumeClaimTemplates []struct {
			Metadata meta `yaml:"metadata"`
			Spec     struct {
				AccessModes []string `yaml:"accessModes"`
				Resources   struct {
					Requests map[string]string `yaml:"requests"`
				} `yaml:"resources"`
			} `yaml:"spec"`
		} `yaml:"volumeClaimTemplates"`
	}
	servicePort struct {
		Name       string `yaml:"name"`
		Port       int    `yaml:"port"`
		TargetPort string `yaml:"targetPort"`
		Protocol   string `yaml:"protocol"`
	}
	pod struct {
		TerminationGracePeriodSeconds int            `yaml:"terminationGracePeriodSeconds"`
		AutomountServiceAccountToken  bool           `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            bool           `yaml:"enableServiceLinks"`
		SecurityContext               map[string]any `yaml:"securityContext"`
		Affinity                      map[string]any `yaml:"affinity"`
		Containers                    []container    `yaml:"containers"`
		Volumes                       []struct {
			Name   string `yaml:"name"`
			Secret struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
				Items       []struct {
					Key  string `yaml:"key"`
					Path string `yaml:"path"`
				} `yaml:"items"`
			} `yaml:"secret"`
		} `yaml:"volumes"`
	}
	container struct {
		Name  string   `yaml:"name"`
		Image string   `yaml:"image"`
		Args  []string `yaml:"args"`
		Ports []struct {
			Name          string `yaml:"name"`
			ContainerPort int    `yaml:"containerPort"`
			Protocol      string `yaml:"protocol"`
		} `yaml:"ports"`
		Env            []variable `yaml:"env"`
		StartupProbe   probe      `yaml:"startupProbe"`
		LivenessProbe  probe      `yaml:"livenessProbe"`
		ReadinessProbe probe      `yaml:"readinessProbe"`
		Lifecycle      struct {
			PreStop struct {
				Exec struct {
					Command []string `yaml:"command"`
				} `yaml:"exec"`
			} `yaml:"preStop"`
		} `yaml:"lifecycle"`
		Resources       map[string]map[string]string `yaml:"resources"`
		SecurityContext struct {
			AllowPrivilegeEscalation bool                `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool                `yaml:"readOnlyRootFilesystem"`
			Capabilities             map[string][]string `yaml:"capabilities"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string `yaml:"name"`
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	variable struct {
		Name      string `yaml:"name"`
		Value     string `yaml:"value"`
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
			SecretKeyRef struct {
				Name string `yaml:"name"`
				Key  string `yaml:"key"`
			} `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	probe struct {
		TCPSocket *struct {
			Port string `yaml:"port"`
		} `yaml:"tcpSocket"`
		HTTPGet *struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
		PeriodSeconds    int `yaml:"periodSeconds"`
		TimeoutSeconds   int `yaml:"timeoutSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
)

// manifests are those of deploy/kubernetes/warren.yaml, by kind and name.
func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(), "deploy", "kubernetes", "warren.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]manifest{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.SetStrict(true)
	for {
		var m manifest
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all[m.Kind+"/"+m.Metadata.Name] = m
	}
}

// TestKubernetesManifests holds the manifests together: what names something names what is there, and ports, variables and
// paths are those of the program and its image.
func TestKubernetesManifests(t *testing.T) {
	all := manifests(t)
	versions := map[string]string{"Secret": "v1", "Service": "v1", "PodDisruptionBudget": "policy/v1", "StatefulSet": "apps/v1"}
	for name, m := range all {
		if versions[m.Kind] != m.APIVersion {
			t.Errorf("%s has apiVersion %q", name, m.APIVersion)
		}
	}
	set := all["StatefulSet/warren"].Spec
	p := set.Template.Spec
	c := p.Containers[0]
	label := set.Template.Metadata.Labels
	wantLabels := func(what string, selector map[string]any) {
		t.Helper()
		if inner, ok := selector["matchLabels"].(map[any]any); ok {
			selector = map[string]any{}
			for k, v := range inner {
				selector[fmt.Sprint(k)] = v
			}
		}
		for k, v := range selector {
			if len(selector) == 0 || label[k] != v {
				t.Errorf("%s selects %v, the pods have %v", what, selector, label)
			}
		}
	}
	wantLabels("the set", set.Selector)
	wantLabels("the budget", all["PodDisruptionBudget/warren"].Spec.Selector)
	ports := map[string]string{}
	for _, port := range c.Ports {
		ports[port.Name] = fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
	}
	for _, name := range []string{"warren", "warren-nodes"} {
		s := all["Service/"+name].Spec
		wantLabels("service "+name, s.Selector)
		for _, port := range s.Ports {
			if got := fmt.Sprintf("%d/%s", port.Port, port.Protocol); ports[port.TargetPort] != got {
				t.Errorf("service %s: port %s is %s, that of the container %q", name, port.Name, got, ports[port.TargetPort])
			}
		}
	}
	nodes := all["Service/warren-nodes"].Spec
	if set.ServiceName != "warren-nodes" || nodes.ClusterIP != "None" || !nodes.PublishNotReadyAddresses || set.PodManagementPolicy != "Parallel" {
		t.Error("pods could not find each other before they are ready")
	}
	image, err := os.ReadFile(filepath.Join(moduleRoot(), "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"amqp", "http", "prometheus", "cluster-tcp"} {
		number, _, _ := strings.Cut(ports[port], "/")
		if number == "" || !slices.Contains(strings.Fields(string(image)), number) {
			t.Errorf("port %s (%s) is none of the image's", port, number)
		}
	}
	if user := fmt.Sprintf("USER %v:%v", p.SecurityContext["runAsUser"], p.SecurityContext["runAsGroup"]); !strings.Contains(string(image), user) {
		t.Errorf("the image has no %s", user)
	}
	secret := all["Secret/warren"].StringData
	settings, err := os.ReadFile(filepath.Join(moduleRoot(), "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "WARREN_") && !strings.Contains(string(settings), "`"+e.Name+"`") {
			t.Errorf("%s is no setting", e.Name)
		}
		if ref := e.ValueFrom.SecretKeyRef; ref.Name != "" && (ref.Name != "warren" || secret[ref.Key] == "") {
			t.Errorf("%s refers to %+v, which is not there", e.Name, ref)
		}
	}
	volume := p.Volumes[0]
	if volume.Secret.SecretName != "warren" || secret[volume.Secret.Items[0].Key] == "" || len(secret["cluster-secret"]) < 16 {
		t.Errorf("the volume of the secret is %+v", volume)
	}
	mounts := map[string]string{}
	for _, m := range c.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	data := set.VolumeClaimTemplates[0].Metadata.Name
	if env(c, "WARREN_CLUSTER_SECRET_FILE") != mounts["secret"]+"/cluster-secret" || !strings.HasPrefix(env(c, "WARREN_DATA_DIR"), mounts[data]+"/") {
		t.Errorf("mounts %v, and the settings name others", mounts)
	}
	stop := c.Lifecycle.PreStop.Exec.Command
	seconds, err := strconv.Atoi(stop[len(stop)-1])
	if err != nil || seconds+15 > p.TerminationGracePeriodSeconds {
		t.Errorf("preStop %q may outlast the grace period of %d s", stop, p.TerminationGracePeriodSeconds)
	}
	if !c.SecurityContext.ReadOnlyRootFilesystem || c.SecurityContext.AllowPrivilegeEscalation || p.SecurityContext["runAsNonRoot"] != true {
		t.Error("the container may do more than it has to")
	}
	if env(c, "WARREN_EXPECT") != strconv.Itoa(set.Replicas) {
		t.Error("not all replicas found the cluster")
	}
}

func env(c container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// TestKubernetesPods runs the pods of the manifest as processes, each with a loopback address and the ports, arguments and variables
// that are written there. All start at once. Then one is stopped as Kubernetes does: its preStop command, which makes it
// unready and moves its clients, and SIGTERM; and comes back.
func TestKubernetesPods(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet/warren"].Spec
	c := set.Template.Spec.Containers[0]
	secret := all["Secret/warren"].StringData
	cl, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), set.Replicas, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.end(t.Failed(), t.Logf) })
	secretFile := filepath.Join(cl.dir, "cluster-secret")
	if err := os.WriteFile(secretFile, []byte(secret["cluster-secret"]), 0o600); err != nil {
		t.Fatal(err)
	}
	// Where a pod has its own address and name, a process here has its own ports.
	join := make([]string, 0, len(cl.nodes))
	for _, n := range cl.nodes {
		join = append(join, n.clust)
	}
	for i, n := range cl.nodes {
		n.name = fmt.Sprintf("warren-%d", i)
		n.url = "amqp://" + secret["user"] + ":" + secret["password"] + "@" + n.amqp
		n.args = append(slices.Clone(c.Args), "--data-dir", n.dir, "--amqp-addr", n.amqp, "--http-addr", n.http, "--cluster-addr", n.clust,
			"--cluster-advertise", n.clust, "--join", strings.Join(join, ","), "--cluster-secret-file", secretFile, "--disk-free-limit", "1MB", "--metrics-addr", "")
		for _, e := range c.Env {
			value := e.Value
			if ref := e.ValueFrom.SecretKeyRef; ref.Name != "" {
				value = secret[ref.Key]
			}
			if e.ValueFrom.FieldRef.FieldPath == "metadata.name" {
				value = n.name
			}
			n.proc.Env = append(n.proc.Env, e.Name+"="+value)
		}
		n.proc.Env = append(n.proc.Env, "WARREN_LOOPBACK_USERS=") // of the image
		n.start(t)
	}
	for _, n := range cl.nodes {
		eventually(t, n.name+" is ready", func() error { return probeOf(c.ReadinessProbe, n) })
		n.waitReady(t)
		for _, p := range []probe{c.StartupProbe, c.LivenessProbe} {
			if err := probeOf(p, n); err != nil {
				t.Errorf("%s is not alive: %v", n.name, err)
			}
		}
	}
	stopped := cl.nodes[1]
	conn := dial(t, stopped)
	command := c.Lifecycle.PreStop.Exec.Command
	stop := exec.Command(filepath.Join(filepath.Dir(stopped.ctlBin), filepath.Base(command[0])), command[1:]...)
	stop.Env = append(os.Environ(), append(slices.Clone(stopped.proc.Env), "WARRENCTL_NODES=http://"+stopped.http)...)
	if out, err := stop.CombinedOutput(); err != nil {
		t.Fatalf("preStop: %v\n%s", err, out)
	}
	if !conn.IsClosed() {
		eventually(t, "the client is sent away", func() error {
			if !conn.IsClosed() {
				return errors.New("it is connected")
			}
			return nil
		})
	}
	if err := probeOf(c.ReadinessProbe, stopped); err == nil {
		t.Error("a drained pod is ready")
	}
	if err := probeOf(c.LivenessProbe, stopped); err != nil {
		t.Errorf("a drained pod is not alive: %v", err)
	}
	stopped.stop(t)
	stopped.start(t)
	eventually(t, "the pod is back", func() error { return probeOf(c.ReadinessProbe, stopped) })
	// Without a quorum a pod is alive, and not ready.
	cl.nodes[0].kill(t)
	cl.nodes[2].kill(t)
	eventually(t, "the last pod is not ready", func() error {
		if probeOf(c.ReadinessProbe, stopped) == nil {
			return errors.New("it is")
		}
		return nil
	})
	if err := probeOf(c.LivenessProbe, stopped); err != nil {
		t.Errorf("a pod without a quorum is not alive: %v", err)
	}
}

// probeOf does what a kubelet does, once.
func probeOf(p probe, n *node) error {
	switch {
	case p.TCPSocket != nil && p.TCPSocket.Port == "http":
		conn, err := net.DialTimeout("tcp", n.http, 5*time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	case p.HTTPGet != nil && p.HTTPGet.Port == "http":
		resp, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + n.http + p.HTTPGet.Path)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	return fmt.Errorf("a probe that this test does not know: %+v", p)
}
