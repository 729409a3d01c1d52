// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// The kubelet: upstream's own, over upstream's fake container runtime, as in its scale tests. What it tells of the
// machine is the machine's.

import (
	"context"
	"flag"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
	fakeremote "k8s.io/cri-client/pkg/fake"
	"k8s.io/klog/v2"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubemark"
)

// machine tells the kubelet about this host.
type machine struct {
	*cadvisortest.Fake
}

func line(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (m machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	id := line("/etc/machine-id")
	return &cadvisorapi.MachineInfo{
		NumCores: runtime.NumCPU(), MemoryCapacity: 8 << 30,
		MachineID: id, SystemUUID: id, BootID: line("/proc/sys/kernel/random/boot_id"),
	}, nil
}

func (m machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	system := "Linux"
	for _, each := range strings.Split(line("/etc/os-release"), "\n") {
		if value, found := strings.CutPrefix(each, "PRETTY_NAME="); found {
			system = strings.Trim(value, `"`)
		}
	}
	return &cadvisorapi.VersionInfo{KernelVersion: line("/proc/sys/kernel/osrelease"), ContainerOsVersion: system}, nil
}

// containers lets a container take its time to stop (its variable STOP_SECONDS, at most its pod's grace), and names
// sandboxes anew in each life of the runtime, as real ones do.
type containers struct {
	internalapi.RuntimeService
	life  uint32
	mutex sync.Mutex
	slow  map[string]int64
}

func (c *containers) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error) {
	config.Metadata.Attempt += c.life
	return c.RuntimeService.RunPodSandbox(ctx, config, handler)
}

func (c *containers) CreateContainer(ctx context.Context, sandbox string, config *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) (string, error) {
	id, err := c.RuntimeService.CreateContainer(ctx, sandbox, config, pod)
	for _, variable := range config.Envs {
		if variable.Key == "STOP_SECONDS" {
			seconds, _ := strconv.ParseInt(variable.Value, 10, 64)
			c.mutex.Lock()
			c.slow[id] = seconds
			c.mutex.Unlock()
		}
	}
	return id, err
}

func (c *containers) StopContainer(ctx context.Context, id string, timeout int64) error {
	c.mutex.Lock()
	seconds := min(c.slow[id], timeout)
	c.mutex.Unlock()
	time.Sleep(time.Duration(seconds) * time.Second)
	return c.RuntimeService.StopContainer(ctx, id, timeout)
}

func runKubelet(args []string) {
	flags := flag.NewFlagSet("kubelet", flag.ExitOnError)
	name := flags.String("name", "", "the node's name")
	ip := flags.String("ip", "", "the node's address")
	path := flags.String("kubeconfig", "", "how to reach the API")
	_ = flags.Parse(args)

	// The kubelet's folders are made below it: gone after a reboot, with all that "ran".
	os.Setenv("TMPDIR", "/run")
	kubelet, settings := kubemark.GetHollowKubeletConfig(&kubemark.HollowKubeletOptions{
		NodeName: *name, KubeletPort: 10250, MaxPods: 110,
		NodeLabels: map[string]string{"node.kubernetes.io/instance-type": "k3s", "kubernetes.io/hostname": *name},
	})
	kubelet.NodeIP = *ip
	settings.ProviderID = "k3s://" + *name

	rest, err := clientcmd.BuildConfigFromFlags("", *path)
	if err != nil {
		fail(err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		fail(err)
	}
	beat := *rest
	beat.Timeout, beat.QPS = settings.NodeStatusUpdateFrequency.Duration, -1
	heartbeat, err := kubernetes.NewForConfig(&beat)
	if err != nil {
		fail(err)
	}

	endpoint := "unix:///run/k3s-runtime.sock"
	_ = os.Remove("/run/k3s-runtime.sock")
	fake := fakeremote.NewFakeRemoteRuntime()
	if err := fake.Start(endpoint); err != nil {
		fail(err)
	}
	logger := klog.Background()
	service, err := remote.NewRemoteRuntimeService(endpoint, 15*time.Second, noop.NewTracerProvider(), &logger)
	if err != nil {
		fail(err)
	}
	life := uint32(time.Now().Unix() % 1_000_000 * 1000)
	kubemark.NewHollowKubelet(
		kubelet, settings, client, heartbeat,
		machine{&cadvisortest.Fake{NodeName: *name}},
		fake.ImageService,
		&containers{RuntimeService: service, life: life, slow: map[string]int64{}},
		cm.NewStubContainerManager(),
	).Run(context.Background())
}
