"""The evaluator of policies, against what IAM documents; and that the list of rights follows the code.

python -m unittest test_policies      # in this folder
"""

import unittest

import rights
from policies import Request, admitted, admitted_to_key, holds, matches

ROOT, ROLE = "arn:aws:iam::1:root", "arn:aws:iam::1:role/r"


def allow(action, resource="*", condition=None, effect="Allow", principal=None):
    statement = {"Effect": effect, "Action": [action], "Resource": [resource]}
    statement |= {"Condition": condition} if condition else {}
    return statement | ({"Principal": {"AWS": principal}} if principal else {})


class Identity(unittest.TestCase):
    def test_nothing_is_allowed_by_itself_and_a_denial_wins(self):
        get = Request("s3:GetObject", "arn:aws:s3:::b/k")
        self.assertFalse(admitted([], get))
        self.assertTrue(admitted([allow("s3:Get*")], get))
        self.assertTrue(admitted([allow("S3:getobject", "arn:aws:s3:::b/*")], get))
        self.assertFalse(admitted([allow("s3:*", "arn:aws:s3:::b")], get))
        self.assertFalse(admitted([allow("*"), allow("s3:*", effect="Deny")], get))

    def test_resources_differ_in_case_and_a_question_mark_is_one_letter(self):
        self.assertFalse(matches("arn:aws:s3:::b/K", "arn:aws:s3:::b/k"))
        self.assertTrue(matches("arn:aws:s3:::?/k", "arn:aws:s3:::b/k"))
        self.assertFalse(matches("a.c", "abc"))

    def test_a_star_may_stand_for_itself(self):
        self.assertTrue(matches("cluster/${*}", "cluster/*"))
        self.assertFalse(matches("cluster/${*}", "cluster/j-1"))
        self.assertFalse(matches("cluster/j-*", "cluster/*"))
        with self.assertRaises(ValueError):
            matches("home/${aws:username}/*", "home/me/x")


class Conditions(unittest.TestCase):
    def test_keys_that_are_missing(self):
        # Of the documentation: an operator with Not holds, one without does not, IfExists holds, Null asks for just that.
        self.assertFalse(holds("StringEquals", "k", ["x"], {}))
        self.assertTrue(holds("StringNotEquals", "k", ["x"], {}))
        self.assertTrue(holds("StringEqualsIfExists", "k", ["x"], {}))
        self.assertTrue(holds("StringNotEqualsIfExists", "k", ["x"], {}))
        self.assertTrue(holds("Null", "k", ["true"], {}))
        self.assertFalse(holds("Null", "k", ["false"], {}))

    def test_keys_that_are_there(self):
        context = {"k": "x", "b": "true", "v": "1.1"}
        self.assertTrue(holds("StringEquals", "K", ["y", "x"], context))
        self.assertFalse(holds("StringNotEquals", "k", ["y", "x"], context))
        self.assertTrue(holds("StringLike", "k", ["?"], context))
        self.assertTrue(holds("Bool", "b", ["True"], context))
        self.assertTrue(holds("NumericLessThan", "v", ["1.2"], context))
        self.assertFalse(holds("Null", "k", ["true"], context))

    def test_an_operator_that_is_not_known_is_no_guess(self):
        with self.assertRaises(KeyError):
            holds("DateGreaterThan", "k", ["x"], {"k": "x"})


class Keys(unittest.TestCase):
    def admitted(self, key, identity):
        return admitted_to_key(key, identity, Request("kms:Decrypt", "key", {"aws:PrincipalArn": ROLE}, ROLE), ROOT)

    def test_who_is_named_needs_no_policy_of_its_own(self):
        self.assertTrue(self.admitted([allow("kms:*", principal=ROLE)], []))
        self.assertFalse(self.admitted([allow("kms:*", principal="arn:aws:iam::1:role/other")], [allow("kms:*")]))

    def test_the_account_leaves_it_to_policies_of_the_role(self):
        self.assertFalse(self.admitted([allow("kms:*", principal=ROOT)], []))
        self.assertTrue(self.admitted([allow("kms:*", principal=ROOT)], [allow("kms:Decrypt")]))
        # Also where a condition names the role: the defect that kept Spot instances from starting.
        named = {"ArnEquals": {"aws:PrincipalArn": ROLE}}
        self.assertFalse(self.admitted([allow("kms:*", principal=ROOT, condition=named)], []))
        self.assertTrue(self.admitted([allow("kms:*", principal="*", condition=named)], []))

    def test_a_denial_wins(self):
        self.assertFalse(self.admitted([allow("kms:*", principal=ROLE)], [allow("kms:*", effect="Deny")]))


class Code(unittest.TestCase):
    def test_every_action_that_the_code_names_is_a_right_of_somebody(self):
        listed = rights.of_code("glue", "emr", "parameter.rs") | rights.NOT_ON_AWS
        self.assertEqual(rights.of_code("."), listed)
        self.assertLessEqual(rights.POOL, rights.of_code("emr/pool.rs", "emr/cluster.rs"))
        self.assertGreater(len(rights.of_code("emr")), 10)

    def test_every_action_that_the_code_names_is_one_of_aws(self):
        known = rights.operations("emr", "elasticmapreduce") | rights.operations("glue", "glue") | rights.operations("ssm", "ssm")
        self.assertLessEqual(rights.of_code("."), known)


if __name__ == "__main__":
    unittest.main()
