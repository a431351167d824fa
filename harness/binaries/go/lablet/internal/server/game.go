package server

import (
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/game"
	"lblab/lablet/internal/wire"
)

// play takes a game's datagram, if it is one. Nothing is answered: updates are sent at the server's own ticks.
func (s *Server) play(message *datagram.Message, received int64, socket *datagramSocket) bool {
	var packet wire.Packet
	greeting, err := packet.ParseGame(message.Payload)
	if err != nil || packet.Kind == wire.Update {
		return err == nil
	}
	key := game.Key{Session: packet.Session, Flow: packet.Flow}
	switch packet.Kind {
	case wire.Hello:
		if s.world.Greet(key, message.Peer, greeting, received) == game.Joined {
			go s.tick(key, greeting.Interval, int(packet.ReplySize), socket, source(message), message.Device)
		}
	case wire.Input:
		input := wire.Accepted{Sequence: packet.Sequence, Sent: packet.Sent, Received: received}
		if s.world.Take(key, message.Peer, input) == game.Taken {
			answer := wire.Answer{Received: received}
			s.ledger.probe(&packet, &answer, message.Peer, socket.port)
		}
	}
	return true
}

// tick sends a player its updates until the world forgets it. Ticks that were missed are left out, as a server does that
// was held up.
func (s *Server) tick(key game.Key, interval int64, size int, socket *datagramSocket, from []byte, device uint32) {
	state := wire.State{Instance: s.Instance, Identity: []byte(s.Node + " " + s.Pod)}
	buffer := make([]byte, wire.MaxSize)
	for next := clock.Now() + interval; !s.stopping.Load(); next += interval {
		now := clock.Now()
		if next > now {
			time.Sleep(time.Duration(next - now))
		} else {
			next += (now - next) / interval * interval
		}
		if !s.world.Tick(key, clock.Now(), &state) {
			return
		}
		length := state.Put(buffer, key.Session, key.Flow, size)
		to := sockaddr(&datagram.Message{Peer: state.Peer, Device: device})
		_ = unix.Sendmsg(socket.fd, buffer[:length], from, to, unix.MSG_DONTWAIT) // lost, as it would be in any server
	}
}

// stall holds the game up for a while, as an autosave does; the pod's other ports answer on.
func (s *Server) stall(length time.Duration) (begun int64) {
	held := make(chan int64)
	go s.world.Hold(func() {
		held <- clock.Now()
		time.Sleep(length)
	})
	return <-held
}
