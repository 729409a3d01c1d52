// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A stand-in for K3s where no K3s can be had: upstream's own Kubernetes under K3s's command names and paths.
//
// The API server, the controllers, the scheduler, kubectl, etcd and the kubelet are the real ones; only the container
// runtime below the kubelet is a fake one. Certificates, joining and the client load balancer are imitated, simply.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
)

const (
	data       = "/var/lib/rancher/k3s"
	kubeconfig = "/etc/rancher/k3s/k3s.yaml"
)

func fail(err error) {
	fmt.Fprintf(os.Stderr, "k3s: %v\n", err)
	os.Exit(1)
}

// upstream runs a command of Kubernetes with the rest of the command line.
func upstream(command *cobra.Command, args []string) {
	os.Args = append([]string{command.Name()}, args...)
	command.SetArgs(args)
	os.Exit(cli.Run(command))
}

func main() {
	name, args := "", os.Args[1:]
	if filepath.Base(os.Args[0]) == "kubectl" {
		name = "kubectl"
	} else if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "server":
		runServer()
	case "agent":
		runAgent()
	case "kubectl":
		if os.Getenv("KUBECONFIG") == "" {
			if _, err := os.Stat(kubeconfig); err == nil {
				os.Setenv("KUBECONFIG", kubeconfig)
			}
		}
		os.Args = append([]string{"kubectl"}, args...)
		command := kubectl.NewDefaultKubectlCommand()
		command.SetArgs(args)
		if err := cli.RunNoErrOutput(command); err != nil {
			kubectlFail(err)
		}
	case "--version", "-v":
		fmt.Printf("k3s version %s (stand-in)\n", version.Get().GitVersion)
	// What a server starts as processes of its own.
	case "kube-apiserver":
		upstream(apiserver.NewAPIServerCommand(), args)
	case "kube-controller-manager":
		upstream(controllers.NewControllerManagerCommand(), args)
	case "kube-scheduler":
		upstream(scheduler.NewSchedulerCommand(), args)
	case "kubelet":
		runKubelet(args)
	default:
		fail(fmt.Errorf("unknown command %q; there are: server, agent, kubectl, --version", name))
	}
}
