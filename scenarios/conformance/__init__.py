"""What has to be the same on every backend; `lblab conform` compares it."""
