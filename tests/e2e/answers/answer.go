// SPDX-License-Identifier: Apache-2.0

// answer.go PORT: Go's net/http. /ok, /missing, /broken and /busy say what they are called.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	statuses := map[string]int{"/missing": 404, "/broken": 500, "/busy": 503}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if status, found := statuses[r.URL.Path]; found {
			w.WriteHeader(status)
		}
		io.WriteString(w, "well\n")
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
