package server

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// endpoints are the client's address as the server sees it, and the server's port.
func endpoints(connection *net.TCPConn) (client netip.AddrPort, port int) {
	remote := connection.RemoteAddr().(*net.TCPAddr)
	local := connection.LocalAddr().(*net.TCPAddr)
	return remote.AddrPort(), local.Port
}

func nativeUint64(data []byte) uint64 { return binary.NativeEndian.Uint64(data) }

func nativeUint32(data []byte) uint32 { return binary.NativeEndian.Uint32(data) }
