"""The paper's comparison of accuracy, trained anew on Flickr8k over features of a frozen backbone."""
