// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// Where the API server keeps its objects: an etcd of this server's own, or sqlite.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/k3s-io/kine/pkg/endpoint"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

type datastore struct {
	name   string
	member *embed.Etcd
}

func address(format string, args ...any) url.URL {
	parsed, err := url.Parse(fmt.Sprintf(format, args...))
	if err != nil {
		fail(err)
	}
	return *parsed
}

func startEtcd(c config) *datastore {
	folder := data + "/server/db/etcd"
	sign(etcdDir+"/client", "etcd/server-ca", "etcd-client", "")
	sign(etcdDir+"/server-client", "etcd/server-ca", "etcd-server", "", c.NodeIP, "127.0.0.1", "localhost")
	sign(etcdDir+"/peer-server-client", "etcd/peer-ca", "etcd-peer", "", c.NodeIP, "127.0.0.1", "localhost")

	// K3s gives a member the node's name and a suffix that tells its lives apart.
	nameFile := folder + "/name"
	if !exists(nameFile) {
		write(nameFile, fmt.Sprintf("%s-%08x", c.NodeName, time.Now().UnixNano()&0xffffffff), 0o600)
	}
	name, err := os.ReadFile(nameFile)
	if err != nil {
		fail(err)
	}
	e := embed.NewConfig()
	e.Name, e.Dir, e.LogLevel = string(name), folder, "warn"
	peer := address("https://%s:2380", c.NodeIP)
	e.ListenPeerUrls, e.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	e.ListenClientUrls = []url.URL{address("https://127.0.0.1:2379"), address("https://%s:2379", c.NodeIP)}
	// K3s keeps etcd's HTTP side on a loopback port of its own.
	e.ListenClientHttpUrls = []url.URL{address("https://127.0.0.1:2382")}
	e.AdvertiseClientUrls = []url.URL{address("https://%s:2379", c.NodeIP)}
	e.ClientTLSInfo = transport.TLSInfo{
		CertFile: etcdDir + "/server-client.crt", KeyFile: etcdDir + "/server-client.key",
		TrustedCAFile: etcdDir + "/server-ca.crt", ClientCertAuth: true,
	}
	e.PeerTLSInfo = transport.TLSInfo{
		CertFile: etcdDir + "/peer-server-client.crt", KeyFile: etcdDir + "/peer-server-client.key",
		TrustedCAFile: etcdDir + "/peer-ca.crt", ClientCertAuth: true,
	}
	e.TickMs, e.ElectionMs = 500, 5000 // K3s's own
	e.InitialCluster = fmt.Sprintf("%s=%s", e.Name, peer.String())
	if c.Server != "" && !exists(folder+"/member/wal") {
		query := url.Values{"name": {e.Name}, "peer": {peer.String()}}
		until("joining etcd", 3*time.Minute, func() error {
			answer, err := askServer(c, "/etcd?"+query.Encode())
			e.InitialCluster, e.ClusterState = answer["cluster"], embed.ClusterStateFlagExisting
			return err
		})
	}
	member, err := embed.StartEtcd(e)
	if err != nil {
		fail(err)
	}
	go func() { fail(fmt.Errorf("etcd ended: %w", <-member.Err())) }()
	return &datastore{name: e.Name, member: member}
}

func startSqlite() string {
	folder := data + "/server/db"
	if err := os.MkdirAll(folder, 0o700); err != nil {
		fail(err)
	}
	socket := "unix://" + data + "/server/kine.sock"
	_, err := endpoint.Listen(context.Background(), endpoint.Config{
		Listener:       socket,
		Endpoint:       "sqlite://" + folder + "/state.db?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
		NotifyInterval: 5 * time.Second, EmulatedETCDVersion: "3.5.13",
		CompactInterval: 5 * time.Minute, CompactTimeout: 5 * time.Second, CompactMinRetain: 1000,
		CompactBatchSize: 1000, PollBatchSize: 500, PollInterval: time.Second,
	})
	if err != nil {
		fail(err)
	}
	return socket
}

func (d *datastore) client() (*clientv3.Client, error) {
	security, err := transport.TLSInfo{
		CertFile: etcdDir + "/client.crt", KeyFile: etcdDir + "/client.key", TrustedCAFile: etcdDir + "/server-ca.crt",
	}.ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{"https://127.0.0.1:2379"}, TLS: security, DialTimeout: 5 * time.Second,
	})
}

// add makes a new member known and returns the cluster that it joins.
func (d *datastore) add(name, peer string) (string, error) {
	if d == nil {
		return "", fmt.Errorf("this server has no etcd")
	}
	client, err := d.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return "", err
	}
	known := false
	for _, member := range list.Members {
		if member.Name == "" && member.PeerURLs[0] != peer {
			return "", fmt.Errorf("another member is joining")
		}
		known = known || member.PeerURLs[0] == peer
	}
	if !known {
		// A learner, as with K3s: a voter that has not started yet would cost the first server its majority.
		added, err := client.MemberAddAsLearner(ctx, []string{peer})
		if err != nil {
			return "", err
		}
		list.Members = added.Members
	}
	parts := []string{}
	for _, member := range list.Members {
		if member.PeerURLs[0] == peer {
			member.Name = name
		}
		parts = append(parts, fmt.Sprintf("%s=%s", member.Name, member.PeerURLs[0]))
	}
	return strings.Join(parts, ","), nil
}

// markVoters writes the condition EtcdIsVoter, as K3s's leader does.
func (d *datastore) markVoters(ctx context.Context, client *kubernetes.Clientset) {
	server := d.member.Server
	if uint64(server.MemberID()) != uint64(server.Leader()) {
		return
	}
	for _, member := range server.Cluster().Members() {
		if member.IsLearner {
			// Refused until it has caught up.
			_, _ = server.PromoteMember(ctx, uint64(member.ID))
		}
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "node-role.kubernetes.io/etcd=true"})
	if err != nil {
		return
	}
	for _, node := range nodes.Items {
		status, reason := corev1.ConditionFalse, "NotAMember"
		for _, member := range server.Cluster().Members() {
			if member.Name == node.Annotations["etcd.k3s.cattle.io/node-name"] {
				status, reason = corev1.ConditionTrue, "MemberNotLearner"
			}
		}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{{
			Type: "EtcdIsVoter", Status: status, Reason: reason, LastHeartbeatTime: metav1.Now(),
		}}}})
		if err != nil {
			fail(err)
		}
		_, _ = client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "k3s"}, "status")
	}
}
