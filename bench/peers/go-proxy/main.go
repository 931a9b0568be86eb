// A reverse proxy of the usual shape: net/http's server, http.Client on a Transport with kept
// connections, headers copied, and each read of the response flushed.
//
//	go-proxy 127.0.0.1:8080 /api/one=http://127.0.0.1:9001 /api/two=http://127.0.0.1:9002
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

var client = &http.Client{
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConns:        1024,
		MaxIdleConnsPerHost: 128,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func copyHeaders(to, from http.Header) {
	for name, values := range from {
		to[name] = append([]string(nil), values...)
	}
	for _, name := range hopByHop {
		to.Del(name)
	}
}

func forward(prefix, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		url := target + strings.TrimPrefix(r.URL.RequestURI(), prefix)
		if r.Header.Get("Upgrade") != "" {
			tunnel(w, r, target, url)
			return
		}
		request, err := http.NewRequestWithContext(r.Context(), r.Method, url, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		copyHeaders(request.Header, r.Header)
		request.ContentLength = r.ContentLength
		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		request.Header.Set("X-Forwarded-For", address)
		request.Header.Set("X-Forwarded-Host", r.Host)
		request.Header.Set("X-Forwarded-Proto", "http")
		response, err := client.Do(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		copyHeaders(w.Header(), response.Header)
		w.WriteHeader(response.StatusCode)
		flushed := flushing{w, w.(http.Flusher)}
		flushed.flusher.Flush()
		io.Copy(flushed, response.Body)
	}
}

type flushing struct {
	io.Writer
	flusher http.Flusher
}

func (f flushing) Write(data []byte) (int, error) {
	n, err := f.Writer.Write(data)
	f.flusher.Flush()
	return n, err
}

// An upgraded connection: both directions, as they come.
func tunnel(w http.ResponseWriter, r *http.Request, target, url string) {
	upstream, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	r.URL.Path, r.URL.RawQuery = strings.TrimPrefix(url, target), ""
	if err := r.Write(upstream); err != nil {
		return
	}
	connection, ahead, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	go func() {
		io.Copy(upstream, ahead)
		upstream.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(connection, upstream)
}

func main() {
	mux := http.NewServeMux()
	for _, route := range os.Args[2:] {
		prefix, target, _ := strings.Cut(route, "=")
		mux.HandleFunc(prefix+"/", forward(prefix, target))
	}
	log.Fatal(http.ListenAndServe(os.Args[1], mux))
}
