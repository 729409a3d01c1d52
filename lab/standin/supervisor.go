// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// How a node joins: K3s does it on the API's port, the stand-in on one of its own.

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const supervisorPort = 9345

// serveJoining answers nodes that know the token.
func serveJoining(c config, join func(name, peer string) (string, error)) {
	mux := http.NewServeMux()
	handle := func(path string, answer func(*http.Request) (map[string]string, error)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+c.Token {
				http.Error(w, "wrong token", http.StatusUnauthorized)
				return
			}
			files, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(files)
		})
	}
	handle("/server", func(*http.Request) (map[string]string, error) { return readFiles(tlsDir, sharedFiles()) })
	handle("/agent", func(r *http.Request) (map[string]string, error) {
		folder, err := os.MkdirTemp("", "agent")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(folder)
		node := r.URL.Query().Get("node")
		sign(filepath.Join(folder, "client-kubelet"), "client-ca", "system:node:"+node, "system:nodes")
		files, err := readFiles(folder, []string{"client-kubelet.crt", "client-kubelet.key"})
		if err != nil {
			return nil, err
		}
		authorities, err := readFiles(tlsDir, []string{"server-ca.crt", "client-ca.crt"})
		for name, text := range authorities {
			files[name] = text
		}
		return files, err
	})
	handle("/etcd", func(r *http.Request) (map[string]string, error) {
		cluster, err := join(r.URL.Query().Get("name"), r.URL.Query().Get("peer"))
		return map[string]string{"cluster": cluster}, err
	})
	sign(tlsDir+"/supervisor", "server-ca", "k3s", "", c.NodeIP, "127.0.0.1")
	server := &http.Server{Addr: fmt.Sprintf(":%d", supervisorPort), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { fail(server.ListenAndServeTLS(tlsDir+"/supervisor.crt", tlsDir+"/supervisor.key")) }()
}

func readFiles(folder string, names []string) (map[string]string, error) {
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	return files, nil
}

// askServer asks a server for what a joining node needs. The token is the only proof: this is a lab.
func askServer(c config, path string) (map[string]string, error) {
	client := &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://%s:%d%s", c.serverHost(), supervisorPort, path), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Token)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(text))
	}
	files := map[string]string{}
	return files, json.Unmarshal(text, &files)
}
