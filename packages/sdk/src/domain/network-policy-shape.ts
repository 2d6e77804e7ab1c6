/** The parts of Kubernetes' NetworkPolicy that Bifrost reads. */
export interface NetworkPolicyShape {
  readonly name: string;
  readonly podSelector: LabelSelectorShape;
  readonly policyTypes: readonly string[];
  readonly egress: readonly EgressRuleShape[];
}

export interface LabelSelectorShape {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** No `to`: every destination. */
export interface EgressRuleShape {
  readonly to?: readonly { readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] } }[];
}
