/*
 * Access ports for the recording's two switches, as tc-BPF programs: `*_in` tags what a host sends,
 * `*_out` untags what a host may have and drops the rest. Used instead of the 8021q module, which
 * not every kernel has. Compiled and loaded by `record`.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define be16(x) __builtin_bswap16(x)

enum { CUSTOMER = 0x8100, SERVICE = 0x88a8, VLAN = 10, OUTER = 100, INNER = 20 };

static long (*vlan_push)(struct __sk_buff *, __u16, __u16) = (void *)BPF_FUNC_skb_vlan_push;
static long (*vlan_pop)(struct __sk_buff *) = (void *)BPF_FUNC_skb_vlan_pop;

static int has_outer_tag(struct __sk_buff *skb, __u16 vlan)
{
	return skb->vlan_present && (skb->vlan_tci & 0xfff) == vlan;
}

SECTION("port/plain_out") int plain_out(struct __sk_buff *skb)
{
	return skb->vlan_present ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("port/tagged_in") int tagged_in(struct __sk_buff *skb)
{
	return vlan_push(skb, be16(CUSTOMER), VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("port/tagged_out") int tagged_out(struct __sk_buff *skb)
{
	if (!has_outer_tag(skb, VLAN))
		return TC_ACT_SHOT;
	return vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("port/double_in") int double_in(struct __sk_buff *skb)
{
	if (vlan_push(skb, be16(CUSTOMER), INNER))
		return TC_ACT_SHOT;
	return vlan_push(skb, be16(SERVICE), OUTER) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("port/double_out") int double_out(struct __sk_buff *skb)
{
	if (!has_outer_tag(skb, OUTER))
		return TC_ACT_SHOT;
	return vlan_pop(skb) || vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("license") char licence[] = "GPL";
