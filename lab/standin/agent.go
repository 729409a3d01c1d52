// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// k3s agent: a node, and the client load balancer by which it reaches any server that lives.

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const balancerAddress = "127.0.0.1:6444"

func runAgent() {
	c := readConfig()
	agent := data + "/agent"
	if !exists(agent + "/client-kubelet.crt") {
		until("joining "+c.Server, 3*time.Minute, func() error {
			files, err := askServer(c, "/agent?node="+c.NodeName)
			for name, text := range files {
				write(filepath.Join(agent, name), text, 0o600)
			}
			return err
		})
	}
	config := agent + "/kubelet.kubeconfig"
	write(config, kubeconfigFor("https://"+balancerAddress, agent+"/server-ca.crt", agent+"/client-kubelet.crt", agent+"/client-kubelet.key"), 0o600)
	balance := newBalancer(net.JoinHostPort(c.serverHost(), "6443"), agent+"/etc/k3s-agent-load-balancer.json")
	go balance.serve()
	start("kubelet", "--name="+c.NodeName, "--ip="+c.NodeIP, "--kubeconfig="+config)
	ready()
	rest, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		fail(err)
	}
	rest.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		fail(err)
	}
	for {
		balance.learn(client)
		time.Sleep(5 * time.Second)
	}
}

// balancer forwards connections to the first server that takes them.
type balancer struct {
	mutex   sync.Mutex
	servers []string
	file    string
}

func newBalancer(first, file string) *balancer {
	b := &balancer{servers: []string{first}, file: file}
	if text, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(text, &b.servers)
	}
	return b
}

func (b *balancer) list() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string{}, b.servers...)
}

// learn asks the API which servers there are.
func (b *balancer) learn(client *kubernetes.Clientset) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	slices, err := client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || len(slices.Endpoints) == 0 {
		return
	}
	servers := []string{}
	for _, each := range slices.Endpoints {
		servers = append(servers, net.JoinHostPort(each.Addresses[0], "6443"))
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.servers = servers
	text, err := json.Marshal(servers)
	if err != nil {
		fail(err)
	}
	write(b.file, string(text), 0o600)
}

func (b *balancer) serve() {
	listener, err := net.Listen("tcp", balancerAddress)
	if err != nil {
		fail(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go b.forward(connection)
	}
}

func (b *balancer) forward(connection net.Conn) {
	defer connection.Close()
	for _, server := range b.list() {
		backend, err := net.DialTimeout("tcp", server, 2*time.Second)
		if err != nil {
			continue
		}
		defer backend.Close()
		done := make(chan struct{}, 2)
		for _, pair := range [][2]net.Conn{{backend, connection}, {connection, backend}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				done <- struct{}{}
			}()
		}
		<-done
		return
	}
}
