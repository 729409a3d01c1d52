// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// /etc/rancher/k3s/config.yaml, as far as the lab uses it; and the processes that a node consists of.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

type config struct {
	ClusterInit bool   `json:"cluster-init"`
	Server      string `json:"server"`
	Token       string `json:"token"`
	NodeName    string `json:"node-name"`
	NodeIP      string `json:"node-ip"`
	ClusterCIDR string `json:"cluster-cidr"`
	ServiceCIDR string `json:"service-cidr"`
}

func readConfig() config {
	c := config{ServiceCIDR: "198.19.128.0/17"}
	text, err := os.ReadFile("/etc/rancher/k3s/config.yaml")
	if err != nil {
		fail(err)
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		fail(err)
	}
	if c.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			fail(err)
		}
		c.NodeName = name
	}
	c.NodeName = strings.ToLower(c.NodeName)
	if c.NodeIP == "" || c.Token == "" {
		fail(errors.New("config.yaml needs node-ip and token"))
	}
	return c
}

// serverHost is the host of the server that a node joins by.
func (c config) serverHost() string {
	host := strings.TrimPrefix(c.Server, "https://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func write(path, text string, mode os.FileMode) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		fail(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		fail(err)
	}
}

// start runs a part of Kubernetes as a process that ends with this one. When it ends first, so does this one, and
// systemd starts all anew.
func start(name string, args ...string) {
	log, err := os.Create(filepath.Join("/run", "k3s-"+name+".log"))
	if err != nil {
		fail(err)
	}
	go func() {
		// The kernel ends the child when the *thread* that started it ends.
		runtime.LockOSThread()
		child := exec.Command("/proc/self/exe", append([]string{name}, args...)...)
		child.Stdout, child.Stderr = log, log
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := child.Run()
		fail(fmt.Errorf("%s ended: %v; its log: %s", name, err, log.Name()))
	}()
}

// ready tells systemd that the service is up.
func ready() {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("READY=1")); err != nil {
		fail(err)
	}
}

// until calls a function again until it works or the time is over.
func until(what string, limit time.Duration, try func() error) {
	end := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			fail(fmt.Errorf("%s: %w", what, err))
		}
		time.Sleep(300 * time.Millisecond)
	}
}
