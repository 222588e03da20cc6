// Tells of packets that the kernel lets go: which, why, where, in which network namespace.
//
// Runs at the tracepoint skb:kfree_skb, of the whole machine, so the questions that cost least come first: the reason, the
// namespace, the protocol, the ends of the flow. What belongs goes into a ring; what does not fit is counted.
//
// The kernel's structures are found by their names in its own type information (CO-RE), so only the fields that are
// read are written here. Its memory is read with bpf_probe_read_kernel: a wrong pointer gives nothing, and no harm.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define RELOCATED __attribute__((preserve_access_index))
#define ACCESS(pointer) __builtin_preserve_access_index(pointer)
#define INLINE static __attribute__((always_inline)) inline

// linux/bpf.h
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_RINGBUF = 27 };
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;

struct ns_common { u32 inum; } RELOCATED;
struct net { struct ns_common ns; } RELOCATED;
typedef struct { struct net *net; } possible_net_t;
struct net_device { char name[16]; int ifindex; possible_net_t nd_net; } RELOCATED;
struct sock_common { possible_net_t skc_net; } RELOCATED;
struct sock { struct sock_common __sk_common; } RELOCATED;
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	u16 network_header;
	u32 tail;
	unsigned char *head;
} RELOCATED;

enum { HEAD = 128, ENDS_MAX = 32, NAMESPACES_MAX = 4096 };

// What the agent reads: edge/drops.rs has the same.
struct drop {
	u64 time;
	u64 location;
	u32 reason;
	u32 namespace;
	u32 ifindex;
	u32 length;
	char interface[16];
	u8 head[HEAD];
};

// An end of the flow. An address that is asked for with any port has port 0; for packets without a port of their own
// (later fragments) each address is there as a fragment's, too.
struct end {
	u8 address[16];
	u16 port; // in the network's order
	u16 of_fragment;
};

struct { int (*type)[MAP_RINGBUF]; int (*max_entries)[1 << 20]; } RING SEC(".maps");
struct { int (*type)[MAP_HASH]; int (*max_entries)[ENDS_MAX * 2]; struct end *key; u8 *value; } ENDS SEC(".maps");
struct { int (*type)[MAP_HASH]; int (*max_entries)[NAMESPACES_MAX]; u32 *key; u8 *value; } NAMESPACES SEC(".maps");
struct { int (*type)[MAP_ARRAY]; int (*max_entries)[1]; u32 *key; u64 *value; } LOST SEC(".maps");

// Room for one record on each processor: too large for the stack, and this program does not interrupt itself.
struct { int (*type)[MAP_PERCPU_ARRAY]; int (*max_entries)[1]; u32 *key; struct drop *value; } SCRATCH SEC(".maps");

// Set before the program is loaded.
volatile const u32 PROTOCOL = 0;
volatile const u32 NOT_DROPPED = 0;
volatile const u32 CONSUMED = 0;

// A packet at an offset into the bytes that were read.
struct packet { u32 protocol; u32 transport; u32 is_fragment; u8 source[16]; u8 destination[16]; };

// A byte of the packet, or 0 behind its end. The mask is nothing to the value, and tells the verifier what the compiler
// knows; written in assembly, for else the compiler leaves it out.
INLINE u8 AT(const u8 *bytes, u64 at)
{
	if (at >= HEAD)
		return 0;
	asm volatile("%0 &= 127" : "+r"(at));
	return bytes[at];
}

INLINE void address(u8 *to, const u8 *head, u32 at, u32 length)
{
#pragma unroll
	for (u32 nth = 0; nth < 16; nth++)
		to[nth] = nth < length ? AT(head, at + nth) : 0;
}

// Reads the IP header that starts at `at`; false if there is none.
INLINE int read(struct packet *packet, const u8 *head, u32 at)
{
	u8 version = AT(head, at) >> 4;
	if (version == 4) {
		packet->protocol = AT(head, at + 9);
		packet->transport = at + (AT(head, at) & 15) * 4;
		packet->is_fragment = (AT(head, at + 6) & 0x1f) || AT(head, at + 7);
		address(packet->source, head, at + 12, 4);
		address(packet->destination, head, at + 16, 4);
		return 1;
	}
	if (version != 6)
		return 0;
	u32 next = AT(head, at + 6), behind = at + 40;
	packet->is_fragment = 0;
#pragma unroll
	for (int nth = 0; nth < 3; nth++) {
		if (next == 44) {
			packet->is_fragment = AT(head, behind + 2) || (AT(head, behind + 3) & 0xf8);
			next = AT(head, behind);
			behind += 8;
		} else if (next == 0 || next == 43 || next == 60) {
			next = AT(head, behind);
			behind += AT(head, behind + 1) * 8 + 8;
		}
	}
	packet->protocol = next;
	packet->transport = behind;
	address(packet->source, head, at + 8, 16);
	address(packet->destination, head, at + 24, 16);
	return 1;
}

INLINE int is_end(const u8 *address, const u8 *head, u32 port_at, int has_port, int is_fragment)
{
	struct end end = {};
	__builtin_memcpy(end.address, address, 16);
	end.of_fragment = is_fragment;
	if (bpf_map_lookup_elem(&ENDS, &end))
		return 1;
	if (!has_port || is_fragment)
		return 0;
	end.port = AT(head, port_at) | (u16)AT(head, port_at + 1) << 8;
	return end.port && bpf_map_lookup_elem(&ENDS, &end);
}

INLINE int belongs(const struct packet *packet, const u8 *head)
{
	u32 protocol = packet->protocol;
	int has_port = protocol == 6 || protocol == 17 || protocol == 132, part = !!packet->is_fragment;
	return protocol == PROTOCOL && (is_end(packet->source, head, packet->transport, has_port, part)
		|| is_end(packet->destination, head, packet->transport + 2, has_port, part));
}

// The packet itself, or the one that it is an ICMP error about.
INLINE int is_wanted(const u8 *head)
{
	struct packet packet = {};
	if (!read(&packet, head, 0))
		return 0;
	if (belongs(&packet, head))
		return 1;
	u8 kind = AT(head, packet.transport);
	int is_error = packet.protocol == 1 ? kind != 0 && kind != 8 : packet.protocol == 58 && kind < 128;
	return is_error && !packet.is_fragment && read(&packet, head, packet.transport + 8) && belongs(&packet, head);
}

INLINE u32 namespace_of(const struct net *net)
{
	u32 inode = 0;
	if (net)
		bpf_probe_read_kernel(&inode, sizeof(inode), ACCESS(&net->ns.inum));
	return inode;
}

// Where the packet is: its interface's namespace, or that of the socket which sent it. (`dev` shares its place with
// something else while a packet waits in a socket; a namespace that is not asked about comes of that.)
INLINE u32 locate(const struct sk_buff *skb, const struct net_device **dev)
{
	const struct net *net = 0;
	u32 inode = 0;
	bpf_probe_read_kernel(dev, sizeof(*dev), ACCESS(&skb->dev));
	if (*dev) {
		bpf_probe_read_kernel(&net, sizeof(net), ACCESS(&(*dev)->nd_net.net));
		inode = namespace_of(net);
		if (inode && bpf_map_lookup_elem(&NAMESPACES, &inode))
			return inode;
		*dev = 0;
	}
	const struct sock *sk = 0;
	bpf_probe_read_kernel(&sk, sizeof(sk), ACCESS(&skb->sk));
	if (!sk)
		return 0;
	bpf_probe_read_kernel(&net, sizeof(net), ACCESS(&sk->__sk_common.skc_net.net));
	inode = namespace_of(net);
	return inode && bpf_map_lookup_elem(&NAMESPACES, &inode) ? inode : 0;
}

// The first bytes from the IP header; how many there are.
INLINE u32 copy(u8 *to, const struct sk_buff *skb)
{
	u16 start = 0;
	u32 tail = 0;
	const unsigned char *head = 0;
	bpf_probe_read_kernel(&start, sizeof(start), ACCESS(&skb->network_header));
	bpf_probe_read_kernel(&tail, sizeof(tail), ACCESS(&skb->tail));
	bpf_probe_read_kernel(&head, sizeof(head), ACCESS(&skb->head));
	if (!head || start == 0xffff || tail <= start)
		return 0;
	u32 length = tail - start;
	if (length > HEAD)
		length = HEAD;
	// What an earlier packet left there is no part of this one.
	__builtin_memset(to, 0, HEAD);
	return bpf_probe_read_kernel(to, length, head + start) ? 0 : length;
}

SEC("tp_btf/kfree_skb")
int dropped(u64 *arguments)
{
	const struct sk_buff *skb = (void *)arguments[0];
	u32 reason = (u32)arguments[2];
	if (reason == NOT_DROPPED || reason == CONSUMED)
		return 0;
	const struct net_device *dev = 0;
	u32 namespace = locate(skb, &dev);
	if (!namespace)
		return 0;
	u32 zero = 0;
	struct drop *drop = bpf_map_lookup_elem(&SCRATCH, &zero);
	if (!drop)
		return 0;
	drop->length = copy(drop->head, skb);
	if (drop->length < 20 || !is_wanted(drop->head))
		return 0;
	drop->time = bpf_ktime_get_ns();
	drop->location = arguments[1];
	drop->reason = reason;
	drop->namespace = namespace;
	drop->ifindex = 0;
	__builtin_memset(drop->interface, 0, sizeof(drop->interface));
	if (dev) {
		bpf_probe_read_kernel(&drop->ifindex, sizeof(drop->ifindex), ACCESS(&dev->ifindex));
		bpf_probe_read_kernel(drop->interface, sizeof(drop->interface), ACCESS(&dev->name));
	}
	if (bpf_ringbuf_output(&RING, drop, sizeof(*drop), 0)) {
		u64 *lost = bpf_map_lookup_elem(&LOST, &zero);
		if (lost)
			__sync_fetch_and_add(lost, 1);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
