// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// k3s server: datastore, API server, controllers, scheduler, and a node of its own.

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const local = "https://127.0.0.1:6443"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func runServer() {
	c := readConfig()
	if !exists(tlsDir + "/server-ca.crt") {
		if c.Server == "" {
			makeShared()
		} else {
			until("joining "+c.Server, 3*time.Minute, func() error {
				files, err := askServer(c, "/server")
				for name, text := range files {
					write(filepath.Join(tlsDir, name), text, 0o600)
				}
				return err
			})
		}
	}
	write(data+"/server/token", c.Token+"\n", 0o600)
	signOwn(c)

	etcd := c.ClusterInit || c.Server != ""
	storage := []string{}
	var store *datastore
	if etcd {
		store = startEtcd(c)
		storage = []string{
			"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + etcdDir + "/server-ca.crt",
			"--etcd-certfile=" + etcdDir + "/client.crt", "--etcd-keyfile=" + etcdDir + "/client.key",
		}
	} else {
		storage = []string{"--etcd-servers=" + startSqlite()}
	}
	serveJoining(c, func(name, peer string) (string, error) { return store.add(name, peer) })
	startControlPlane(c, storage)

	admin, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		fail(err)
	}
	admin.QPS, admin.Burst = 50, 100
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		fail(err)
	}
	until("the API server", 3*time.Minute, func() error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(context.Background()).Error()
	})
	start("kubelet", "--name="+c.NodeName, "--ip="+c.NodeIP, "--kubeconfig="+data+"/agent/kubelet.kubeconfig")
	ready()
	for {
		tendNodes(client, c, store)
		time.Sleep(3 * time.Second)
	}
}

func signOwn(c config) {
	_, services, err := net.ParseCIDR(c.ServiceCIDR)
	if err != nil {
		fail(err)
	}
	first := services.IP.To4()
	first[3]++
	names := []string{
		"127.0.0.1", "localhost", c.NodeIP, c.NodeName, first.String(),
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	sign(tlsDir+"/serving-kube-apiserver", "server-ca", "kube-apiserver", "", names...)
	sign(tlsDir+"/client-admin", "client-ca", "system:admin", "system:masters")
	sign(tlsDir+"/client-controller", "client-ca", "system:kube-controller-manager", "")
	sign(tlsDir+"/client-scheduler", "client-ca", "system:kube-scheduler", "")
	agent := data + "/agent"
	sign(agent+"/client-kubelet", "client-ca", "system:node:"+c.NodeName, "system:nodes")
	for _, name := range []string{"server-ca.crt", "client-ca.crt"} {
		text, err := os.ReadFile(filepath.Join(tlsDir, name))
		if err != nil {
			fail(err)
		}
		write(filepath.Join(agent, name), string(text), 0o644)
	}
	ca := tlsDir + "/server-ca.crt"
	write(kubeconfig, kubeconfigFor(local, ca, tlsDir+"/client-admin.crt", tlsDir+"/client-admin.key"), 0o600)
	cred := data + "/server/cred"
	write(cred+"/controller.kubeconfig", kubeconfigFor(local, ca, tlsDir+"/client-controller.crt", tlsDir+"/client-controller.key"), 0o600)
	write(cred+"/scheduler.kubeconfig", kubeconfigFor(local, ca, tlsDir+"/client-scheduler.crt", tlsDir+"/client-scheduler.key"), 0o600)
	write(agent+"/kubelet.kubeconfig", kubeconfigFor(local, agent+"/server-ca.crt", agent+"/client-kubelet.crt", agent+"/client-kubelet.key"), 0o600)
}

func startControlPlane(c config, storage []string) {
	start("kube-apiserver", append(storage,
		"--advertise-address="+c.NodeIP, "--bind-address=0.0.0.0", "--secure-port=6443",
		"--tls-cert-file="+tlsDir+"/serving-kube-apiserver.crt", "--tls-private-key-file="+tlsDir+"/serving-kube-apiserver.key",
		"--client-ca-file="+tlsDir+"/client-ca.crt",
		"--service-account-key-file="+tlsDir+"/service.key", "--service-account-signing-key-file="+tlsDir+"/service.key",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range="+c.ServiceCIDR, "--allow-privileged=true", "--profiling=false",
	)...)
	cred := data + "/server/cred"
	start("kube-controller-manager",
		"--kubeconfig="+cred+"/controller.kubeconfig", "--service-account-private-key-file="+tlsDir+"/service.key",
		"--root-ca-file="+tlsDir+"/server-ca.crt", "--use-service-account-credentials=true", "--profiling=false",
		"--bind-address=127.0.0.1",
	)
	start("kube-scheduler", "--kubeconfig="+cred+"/scheduler.kubeconfig", "--profiling=false", "--bind-address=127.0.0.1")
}

// tendNodes writes on this server's node what K3s writes there, and, where this is etcd's leader, who is a voter.
func tendNodes(client *kubernetes.Clientset, c config, store *datastore) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	labels := map[string]string{
		"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/master": "true",
	}
	notes := map[string]string{"k3s.io/hostname": c.NodeName, "k3s.io/internal-ip": c.NodeIP, "k3s.io/node-args": `["server"]`}
	if store != nil {
		labels["node-role.kubernetes.io/etcd"] = "true"
		notes["etcd.k3s.cattle.io/node-name"] = store.name
		notes["etcd.k3s.cattle.io/node-address"] = c.NodeIP
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels, "annotations": notes}})
	if err != nil {
		fail(err)
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, c.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "k3s"})
	if err != nil {
		fmt.Fprintf(os.Stderr, "labels of %s: %v\n", c.NodeName, err)
	}
	if store != nil {
		store.markVoters(ctx, client)
	}
}
